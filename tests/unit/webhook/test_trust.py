from webhook.trust import bundle_patch


def registration(*webhooks):
    return {"webhooks": [{"name": name, "clientConfig": config} for name, config in webhooks]}


def test_every_webhook_of_a_registration_gets_the_authority():
    both = registration(("a", {"url": "u"}), ("b", {"service": {}, "caBundle": "old"}))
    assert [
        {"op": "test", "path": "/webhooks/0/name", "value": "a"},
        {"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": "new"},
        {"op": "test", "path": "/webhooks/1/name", "value": "b"},
        {"op": "add", "path": "/webhooks/1/clientConfig/caBundle", "value": "new"},
    ] == bundle_patch(both, "new")


def test_a_registration_that_trusts_already_is_left_alone():
    assert [] == bundle_patch(registration(("a", {"caBundle": "new"})), "new")
    assert [] == bundle_patch({}, "new")
