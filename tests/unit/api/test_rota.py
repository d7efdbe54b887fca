from api.rota import Rota


def test_projects_are_served_in_turn_and_what_is_one_s_in_its_order() -> None:
    rota = Rota[str]()
    for item in ("a1", "a2", "a3", "b1", "c1"):
        rota.add(item[0], item)
    served = [rota.take() for _ in range(2)]
    rota.add("b", "b2")
    rota.add("d", "d1")

    served += [rota.take() for _ in range(5)]

    assert served == ["a1", "b1", "c1", "a2", "b2", "d1", "a3"]
    assert not rota


def test_one_may_look_at_who_is_next_and_at_a_project_s_oldest() -> None:
    rota = Rota[str]()
    rota.add("a", "a1")
    rota.add("b", "b1")
    rota.add("b", "b2")

    assert (rota.next(), rota.oldest("b"), rota.oldest("c")) == ("a1", "b1", None)
    assert [rota.take(), rota.take()] == ["a1", "b1"]
    assert (rota.next(), rota.oldest("a")) == ("b2", None)
