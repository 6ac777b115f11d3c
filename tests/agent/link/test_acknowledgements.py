from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from secateur_agent.link.acknowledgements import Acknowledgements


@given(st.permutations(range(1, 9)), st.integers(0, 8))
def test_sent_in_the_order_of_arrival_whatever_the_order_of_handling(order: list[int], handled: int) -> None:
    sent: list[int] = []
    acknowledgements = Acknowledgements(lambda packet_id, qos: sent.append(packet_id))
    calls = {packet_id: acknowledgements.expect(packet_id) for packet_id in range(1, 9)}
    for packet_id in order[:handled]:
        calls[packet_id]()
        calls[packet_id]()
    done = set(order[:handled])
    prefix = next((n for n in range(1, 9) if n not in done), 9)
    assert sent == list(range(1, prefix))


def test_a_packet_id_used_again_is_another_message() -> None:
    sent: list[int] = []
    acknowledgements = Acknowledgements(lambda packet_id, qos: sent.append(packet_id))
    first = acknowledgements.expect(1)
    first()
    second = acknowledgements.expect(1)
    first()
    assert sent == [1]
    second()
    assert sent == [1, 1]


def test_nothing_is_sent_for_a_connection_that_ended() -> None:
    sent: list[int] = []
    acknowledgements = Acknowledgements(lambda packet_id, qos: sent.append(packet_id))
    acknowledge = acknowledgements.expect(1)
    acknowledgements.close()
    acknowledge()
    assert sent == []
