"""Files and functions stay small enough to read at once."""

import ast
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]
MAX_FILE_LINES, MAX_FUNCTION_LINES = 400, 60


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).exists()]


def test_no_source_file_is_longer_than_400_lines():
    sizes = {p: len(p.read_text().splitlines()) for p in tracked("*.py", "*.c", "*.h")}
    assert sizes, "the guard found no sources"
    assert {} == {str(p): n for p, n in sizes.items() if n > MAX_FILE_LINES}


def test_no_function_is_longer_than_60_lines():
    long = {}
    for path in tracked("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    long[f"{path}:{node.lineno} {node.name}"] = lines
    assert {} == long
