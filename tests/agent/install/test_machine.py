"""The install table: every path, and every state survives a kill."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from secateur_agent.install.machine import (
    ACTIONS,
    NEXT,
    InstallEvent,
    InstallState,
    RollBack,
    Step,
    StepDone,
    StepFailed,
    Wanted,
    advance,
    load_state,
    save_state,
)
from secateur_agent.protocol.messages import BlobRef, ModelRef


def model(letter: str) -> ModelRef:
    return ModelRef(name=letter, manifest=BlobRef(sha256=letter * 64, size=1), files=())


A, B, C = model("a"), model("b"), model("c")


def run(state: InstallState, *events: InstallEvent) -> InstallState:
    for event in events:
        state = advance(state, event)
    return state


DONE = [StepDone()] * len(NEXT)
WITH_A = run(InstallState(), Wanted(A, 1), *DONE)


def test_a_model_passes_through_every_step_in_order() -> None:
    state, seen = advance(InstallState(), Wanted(A, 1)), ["fetching"]
    while state.busy:
        state = advance(state, StepDone({"r0-fp32": "too big"} if state.step == "trial" else {}))
        seen.append(state.step)
    assert seen == ["fetching", "verifying", "staged", "trial", "committed"]
    assert state.committed is not None
    assert state.committed.model == A
    assert state.committed.set_aside == {"r0-fp32": "too big"}


@pytest.mark.parametrize("step", list(NEXT))
@pytest.mark.parametrize("finished", [False, True], ids=["before the action", "after the action"])
def test_killed_in_any_state_a_restart_comes_to_the_same_end(step: Step, finished: bool, tmp_path: Path) -> None:
    """The state is on disk before its action begins; so a kill finds it there, whether the action was done or not."""
    path = tmp_path / "install.json"
    done: list[str] = []

    def carry_on(state: InstallState, killed_at: Step | None) -> InstallState:
        while True:
            save_state(path, state)
            if state.step == killed_at and not finished:
                return state
            done.append(ACTIONS[state.step])
            if state.step == killed_at or not state.busy:
                return state
            state = advance(state, StepDone())

    undisturbed = carry_on(advance(WITH_A, Wanted(B, 2)), None)
    done.clear()
    carry_on(advance(WITH_A, Wanted(B, 2)), step)
    found, problem = load_state(path)
    assert problem == ""
    assert found.step == step
    assert found.committed == WITH_A.committed, "what served before the kill serves after it"
    assert carry_on(found, None) == undisturbed
    assert set(done) == {"fetch", "verify", "materialise", "try", "serve"}


@pytest.mark.parametrize("step", list(NEXT))
def test_a_failure_in_any_step_leaves_the_model_before(step: Step) -> None:
    state = run(WITH_A, Wanted(B, 2))
    while state.step != step:
        state = advance(state, StepDone())
    state = advance(state, StepFailed("wrong signature"))
    assert state.step == "rolled-back"
    assert state.committed == WITH_A.committed
    assert "wrong signature" in state.fault


def test_a_digest_that_failed_is_not_tried_again_by_itself() -> None:
    """A broken update is installed again and again (mender PR#1581, PR#97)."""
    failed = run(WITH_A, Wanted(B, 2), StepFailed("golden outputs differ"))
    again = advance(failed, Wanted(B, 3))
    assert again.step == "rolled-back"
    assert again.version == 3
    assert "not tried again: golden outputs differ" in again.fault
    assert run(again, Wanted(C, 4), *DONE, Wanted(B, 5)).step == "rolled-back"
    assert advance(again, Wanted(B, 6, by_hand=True)).step == "fetching"


def test_a_failure_that_may_pass_is_tried_again_when_it_is_wanted_again() -> None:
    failed = run(WITH_A, Wanted(B, 2), StepFailed("disk full", passing=True))
    assert failed.step == "rolled-back"
    assert advance(failed, Wanted(B, 3)).step == "fetching"


def test_the_model_that_serves_is_not_installed_again() -> None:
    state = advance(WITH_A, Wanted(A, 7))
    assert (state.step, state.version, state.committed) == ("committed", 7, WITH_A.committed)


def test_another_model_replaces_the_one_that_is_on_its_way() -> None:
    """One stuck deployment blocks all later ones (greengrass-nucleus#1203)."""
    state = run(WITH_A, Wanted(B, 2), StepDone(), Wanted(C, 3))
    assert (state.step, state.target) == ("fetching", C)
    assert advance(run(WITH_A, Wanted(B, 2)), Wanted(A, 3)).step == "committed"


def test_rollback_goes_to_the_model_before_and_stays_there() -> None:
    state = run(WITH_A, Wanted(B, 2), *DONE)
    assert state.previous == WITH_A.committed
    back = advance(state, RollBack("by command"))
    assert back.step == "rolled-back"
    assert back.committed == WITH_A.committed
    assert advance(back, Wanted(B, 2)).step == "rolled-back"
    assert advance(WITH_A, RollBack("by command")) == WITH_A


def test_rollback_during_an_installation_gives_it_up() -> None:
    back = advance(run(WITH_A, Wanted(B, 2)), RollBack("by command"))
    assert (back.step, back.committed, back.target) == ("rolled-back", WITH_A.committed, None)


EVENTS = st.one_of(
    st.builds(Wanted, st.sampled_from([A, B, C]), st.integers(1, 9)),
    st.builds(StepDone),
    st.builds(StepFailed, st.sampled_from(["x", "y"]), st.booleans()),
    st.builds(RollBack, st.just("z")),
)


@given(st.lists(EVENTS, max_size=40))
def test_whatever_happens_a_committed_model_is_never_lost(events: list[InstallEvent]) -> None:
    state = WITH_A
    for event in events:
        state = advance(state, event)
        assert state.committed is not None
        assert state.busy == (state.target is not None)
        assert state.target is None or state.target.manifest.sha256 != state.committed.manifest_sha256
        assert msgspec.json.decode(msgspec.json.encode(state), type=InstallState) == state


@given(st.binary(max_size=200))
def test_a_damaged_state_file_is_told_and_starts_anew(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("state") / "install.json"
    path.write_bytes(b"\0" + data)
    state, problem = load_state(path)
    assert state == InstallState()
    assert "\n" not in problem
    assert str(path) in problem
