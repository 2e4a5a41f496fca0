"""What the fleet has observed: what vanished is seen to be gone, whoever forgot to tell."""

from __future__ import annotations

from support.operator_cases import a_pod_object, an_agent
from watchbill_operator.fleet import Observed
from watchbill_operator.observations import Observation


def observed() -> Observed:
    """One Agent and its pod."""
    seen = Observed()
    seen.see_agent(Observation("Agent", an_agent()))
    seen.see_pod(Observation("Pod", a_pod_object(an_agent())))
    return seen


def test_a_pod_that_a_list_lacks_can_be_told_gone() -> None:
    """Its deletion fell between two LISTs, so no watch event ever says so."""
    seen = observed()
    (pod,) = [observation for observation in seen.tell_gone() if observation.kind == "Pod"]
    seen.see_pod(pod)

    assert seen.pods == {}


def test_an_agent_that_a_list_lacks_can_be_told_gone() -> None:
    """Its pods are looked after until they are gone."""
    seen = observed()
    (agent,) = [observation for observation in seen.tell_gone() if observation.kind == "Agent"]
    seen.see_agent(agent)

    assert seen.agents == {}
    assert seen.removed == {"blue": "uid-of-blue"}


def test_a_pod_that_was_told_gone_does_not_come_back_by_a_late_event() -> None:
    """The watch may lag behind the LIST."""
    seen = observed()
    for observation in seen.tell_gone():
        if observation.kind == "Pod":
            seen.see_pod(observation)
    seen.see_pod(Observation("Pod", a_pod_object(an_agent())))

    assert seen.pods == {}


def test_the_next_pod_of_the_name_is_another() -> None:
    """It has a uid of its own."""
    seen = observed()
    for observation in seen.tell_gone():
        if observation.kind == "Pod":
            seen.see_pod(observation)
    seen.see_pod(Observation("Pod", a_pod_object(an_agent(), uid="second")))

    assert seen.pods["blue-0"].uid == "second"
