from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tensorvcs.history.blaming import blame as blame_module
from tensorvcs.history.blaming.blame import attribute, last_changed
from tests.unit.history.version_graph import (
    KEYS,
    LABELS,
    OTHER_KIND,
    Content,
    VersionGraph,
    version_graphs,
)
from tests.unit.tree.model import TreeKey, in_order, keys_from


def last_changes(graph: VersionGraph, commit: int, name: str) -> list[int]:
    found = last_changed(graph.objects, graph.nodes(), graph.commits[commit], name, keys_from(KEYS))
    return [graph.number(digest) for digest in found]


@given(version_graphs(), st.data())
def test_the_last_change_is_that_of_a_naive_walk(graph: VersionGraph, data: st.DataObject) -> None:
    commit = data.draw(st.integers(0, len(graph.commits) - 1))
    name = data.draw(st.sampled_from("xyz"))
    expected = [graph.blame(commit, name, key) for key in KEYS]
    assert last_changes(graph, commit, name) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blame_module, "_FEW_KEYS", 0)
        assert last_changes(graph, commit, name) == expected


@given(version_graphs(), st.data())
def test_all_samples_at_once_are_as_each_alone(graph: VersionGraph, data: st.DataObject) -> None:
    commit = data.draw(st.integers(0, len(graph.commits) - 1))
    for name, (_, items) in graph.contents[commit].items():
        keys = in_order(items)
        found = attribute(
            graph.objects,
            graph.nodes(),
            graph.commits[commit],
            name,
            keys_from(keys),
            are_all=True,
        )
        owners = [graph.number(found.commits[at]) for at in found.owners.tolist()]
        assert owners == [graph.blame(commit, name, key) for key in keys]
        assert len(set(found.commits)) == len(found.commits)
        assert set(found.owners.tolist()) == set(range(len(found.commits)))


SAMPLES: dict[TreeKey, int] = {**dict.fromkeys(range(2000), 0), b"t": 0}


def chain(changes: list[dict[TreeKey, int]]) -> VersionGraph:
    """A history without branches: many samples, then some changed in each commit."""
    contents: list[Content] = [{"x": (LABELS, SAMPLES), "other": (LABELS, {})}]
    for change in changes:
        _, items = contents[-1]["x"]
        contents.append({"x": (LABELS, {**items, **change}), "other": (LABELS, {})})
    return VersionGraph([(), *((at,) for at in range(len(changes)))], contents)


def reads_of_blame(graph: VersionGraph, keys: list[TreeKey], *, are_all: bool = False) -> int:
    graph.objects.get_count = 0
    nodes = graph.nodes()
    attribute(graph.objects, nodes, graph.commits[-1], "x", keys_from(keys), are_all=are_all)
    return graph.objects.get_count


def test_a_version_with_an_equal_column_costs_its_commit_and_its_snapshot() -> None:
    graph = chain([{}] * 20)
    for number in range(1, 21):
        graph.contents[number]["other"] = (LABELS, {0: number})
    graph = VersionGraph(graph.parents, graph.contents)
    assert reads_of_blame(graph, in_order(SAMPLES), are_all=True) == 2 * 21
    assert reads_of_blame(graph, [5, b"t"]) == 2 * 21
    # With equal content not even the snapshot.
    assert reads_of_blame(chain([{}] * 20), [5]) == 1 + 21


def test_the_walk_stops_with_the_last_sample() -> None:
    graph = chain([{at: 1} for at in range(20)])
    assert last_changed(graph.objects, graph.nodes(), graph.commits[-1], "x", keys_from([17])) == [
        graph.commits[18]
    ]
    # Three commits with their snapshots, and of those that differ the nodes on the way to the key.
    assert reads_of_blame(graph, [17]) < 60


def test_cost_follows_the_changes() -> None:
    graph = chain([{at * 90: 1} for at in range(20)])
    new = len(graph.objects.objects) - len(chain([]).objects.objects) - 2 * 20
    reads = reads_of_blame(graph, in_order(SAMPLES), are_all=True)
    # The nodes that a commit made, and those in their place in the version before.
    assert reads - 2 * 21 <= 2 * new
    assert reads < 0.5 * len(graph.objects.objects)


@pytest.mark.parametrize("few", [0, 4096])
def test_keys_come_in_any_order_and_again(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blame_module, "_FEW_KEYS", few)
    graph = chain([{5: 1, b"t": 1}, {7: 1}])
    keys = keys_from([7, 5, 7, 9999, b"u", b"t", b"t"])
    found = last_changed(graph.objects, graph.nodes(), graph.commits[-1], "x", keys)
    assert [graph.number(digest) for digest in found] == [2, 1, 2, 0, 0, 1, 1]


def test_no_keys_at_all() -> None:
    graph = chain([])
    assert last_changed(graph.objects, graph.nodes(), graph.commits[0], "x", keys_from([])) == []


def test_samples_that_part_meet_again() -> None:
    """Each merge takes one sample as its second parent left it, from before the two parted."""
    parents: list[tuple[int, ...]] = [()]
    contents: list[Content] = [{"x": (LABELS, dict.fromkeys(range(64), 0))}]
    for at in range(30):
        base = len(parents) - 1
        items = contents[base]["x"][1]
        ours, theirs = {**items, at: 1, at + 1: 1}, {**items, 63 - at: 2}
        parents += [(base,), (base,), (base + 1, base + 2)]
        merged = {**ours, at: items[at], 63 - at: 2}
        contents += [{"x": (LABELS, content)} for content in (ours, theirs, merged)]
    graph = VersionGraph(parents, contents)
    last = len(parents) - 1
    expected = [graph.blame(last, "x", key) for key in range(64)]
    assert len(set(expected)) == 1 + 30 + 30
    found = attribute(
        graph.objects,
        graph.nodes(),
        graph.commits[last],
        "x",
        keys_from(range(64)),
        are_all=True,
    )
    assert [graph.number(found.commits[at]) for at in found.owners.tolist()] == expected


def attributed(graph: VersionGraph, keys: list[TreeKey]) -> list[int]:
    """Return the commit of each of all samples of the last version; none is found twice."""
    found = attribute(
        graph.objects, graph.nodes(), graph.commits[-1], "x", keys_from(keys), are_all=True
    )
    assert len(set(found.commits)) == len(found.commits)
    return [graph.number(found.commits[at]) for at in found.owners.tolist()]


def flat(contents: list[dict[TreeKey, int]]) -> list[Content]:
    return [{"x": (LABELS, content)} for content in contents]


def test_joined_samples_part_once_more() -> None:
    old: dict[TreeKey, int] = dict.fromkeys(range(6), 0)
    base = {**old, 0: 1, 1: 1, 2: 1}
    ours, theirs = {**base, 3: 2, 4: 2}, {**base, 5: 3}
    graph = VersionGraph(
        [(), (0,), (1,), (1,), (2, 3)], flat([old, base, ours, theirs, {**base, 5: 3}])
    )
    assert attributed(graph, list(range(6))) == [1, 1, 1, 0, 0, 3]


def test_a_commit_waits_for_the_longer_way_to_it() -> None:
    old: dict[TreeKey, int] = dict.fromkeys(range(6), 0)
    one, two, short = {**old, 1: 1}, {**old, 1: 1, 2: 2, 5: 2}, {**old, 3: 3}
    # The last sample goes the short way, all that nobody changed the longer one.
    merged = {**two, 3: 3, 5: 0}
    graph = VersionGraph([(), (0,), (1,), (0,), (2, 3)], flat([old, one, two, short, merged]))
    assert attributed(graph, list(range(6))) == [0, 1, 2, 3, 0, 0]


def test_of_many_parents_the_first_with_an_equal_sample_counts() -> None:
    old: dict[TreeKey, int] = dict.fromkeys(range(5), 0)
    sides = [{**old, 0: 1}, {**old, 1: 1, 3: 1}, {**old, 2: 1, 3: 1}]
    merged = {**old, 0: 1, 1: 1, 2: 1, 3: 1, 4: 9}
    graph = VersionGraph([(), (0,), (0,), (0,), (1, 2, 3)], flat([old, *sides, merged]))
    assert attributed(graph, list(range(5))) == [1, 2, 3, 2, 4]


def test_a_renamed_column_is_followed_in_one_parent_and_not_the_other() -> None:
    items: dict[TreeKey, int] = dict.fromkeys(range(8), 0)
    contents: list[Content] = [
        {"x": (LABELS, items)},
        {"x": (LABELS, {**items, 1: 1})},
        {"y": (LABELS, {**items, 2: 2})},
        {"y": (LABELS, {**items, 1: 1, 2: 2, 3: 3})},
    ]
    graph = VersionGraph([(), (0,), (0,), (1, 2)], contents)
    keys = keys_from(range(4))
    found = last_changed(graph.objects, graph.nodes(), graph.commits[3], "y", keys)
    assert [graph.number(digest) for digest in found] == [0, 1, 2, 3]
    # Under the old name they went with their column.
    found = last_changed(graph.objects, graph.nodes(), graph.commits[3], "x", keys)
    assert {graph.number(digest) for digest in found} == {2}


def test_another_dtype_changes_every_sample() -> None:
    items: dict[TreeKey, int] = {0: 0, 1: 1}
    graph = VersionGraph([(), (0,)], [{"x": (LABELS, items)}, {"x": (OTHER_KIND, items)}])
    found = last_changed(graph.objects, graph.nodes(), graph.commits[1], "x", keys_from([0, 1, 2]))
    assert [graph.number(digest) for digest in found] == [1, 1, 0]
    assert reads_of_blame(graph, [0, 1], are_all=True) == 4
