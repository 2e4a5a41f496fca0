"""Types of fields: what Go's decoder would refuse, and what null means to it."""

from __future__ import annotations

from typing import Any

import pytest

from watchbill_local.server.errors import ApiError, Named
from watchbill_local.server.typed_fields import decode_fields

POD = Named(group="", version="v1", plural="pods", kind="Pod")
WIDGET = Named(group="example.com", version="v1", plural="widgets", kind="Widget")


@pytest.mark.parametrize(
    ("obj", "words"),
    [
        ({"spec": 5}, "number into Go struct field Pod.spec of type struct"),
        ({"spec": {"containers": {}}}, "object into Go struct field Pod.spec.containers of type []struct"),
        (
            {"spec": {"containers": [{"image": 1}]}},
            "number into Go struct field Pod.spec.containers.image of type string",
        ),
        ({"spec": {"priority": True}}, "bool into Go struct field Pod.spec.priority of type int64"),
        ({"spec": {"priority": 1.5}}, "number into Go struct field Pod.spec.priority of type int64"),
        (
            {"metadata": {"labels": []}},
            "array into Go struct field ObjectMeta.metadata.labels of type map[string]string",
        ),
        (
            {"metadata": {"ownerReferences": ["x"]}},
            "string into Go struct field ObjectMeta.metadata.ownerReferences of type struct",
        ),
    ],
)
def test_a_wrong_type_is_refused_in_gos_words(obj: dict[str, Any], words: str) -> None:
    """400 that names the field and both types."""
    with pytest.raises(ApiError) as refusal:
        decode_fields(POD, obj)

    assert refusal.value.code == 400
    assert refusal.value.message.endswith("json: cannot unmarshal " + words)


def test_null_is_absence() -> None:
    """A null member is removed, and in a map of strings it is an empty string."""
    obj: dict[str, Any] = {"metadata": {"labels": {"a": None}, "finalizers": None}, "spec": {"nodeName": None}}

    decode_fields(POD, obj)

    assert obj == {"metadata": {"labels": {"a": ""}}, "spec": {}}


def test_fields_that_nobody_reads_are_kept_as_they_are() -> None:
    """Only what rules look at is typed; custom kinds have their schema for the rest."""
    obj: dict[str, Any] = {"spec": {"unheardOf": [None, {"a": 1}]}}

    decode_fields(WIDGET, {"spec": 5})
    decode_fields(POD, obj)

    assert obj == {"spec": {"unheardOf": [None, {"a": 1}]}}
