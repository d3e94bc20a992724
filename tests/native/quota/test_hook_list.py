"""The page of hooked entry points is what the list says."""

import pytest

from quota_runtime import hook_list

from .building import RUNTIME
from .test_entries import listed

PAGE = RUNTIME.parent / "docs" / "reference" / "quota-runtime.md"


def test_the_page_ends_with_the_list_as_it_is(capsys):
    hook_list.main()
    printed = capsys.readouterr().out
    text = PAGE.read_text()
    assert text.endswith(printed), "append: python -m quota_runtime.hook_list"
    assert text.count("| what the library does |") == 1


def test_the_list_names_what_the_library_exports():
    found = hook_list.entries(hook_list.LIST.read_text())
    names = [name for base, variant, _ in found for name in {base: 0, base + variant: 0}]
    assert names == listed()


def test_a_kind_that_nobody_explains_is_refused():
    with pytest.raises(ValueError, match=r"kinds \['NOVEL'\], known are"):
        hook_list.entries("H(cuNovel, NOVEL, (void), ())\n")
