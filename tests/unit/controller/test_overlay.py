from autoscaler.controller.overlay import Overlay


def item(version, uid="u", name="p"):
    metadata = {"namespace": "default", "name": name, "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata}


def versions(overlay, *cache):
    cached = {("default", held["metadata"]["name"]): held for held in cache}
    return [found["metadata"]["resourceVersion"] for found in overlay.over(cached)]


def test_our_own_write_is_seen_before_the_watch_tells_it():
    overlay = Overlay()
    overlay.put(item(10))
    assert versions(overlay, item(9)) == ["10"]


def test_the_watch_wins_once_it_has_caught_up():
    overlay = Overlay()
    overlay.put(item(9))
    assert versions(overlay, item(10)) == ["10"]
    assert versions(overlay, item(8)) == ["8"]  # forgotten, not merely hidden


def test_a_write_to_an_object_that_is_gone_or_made_again_is_forgotten():
    overlay = Overlay()
    overlay.put(item(10))
    assert versions(overlay) == []
    overlay.put(item(10))
    assert versions(overlay, item(9, uid="new")) == ["9"]


def test_other_objects_are_left_as_they_are():
    overlay = Overlay()
    overlay.put(item(10))
    assert versions(overlay, item(9), item(3, name="q")) == ["10", "3"]
