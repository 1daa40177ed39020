"""common/seeds.py: golden values, since a seed that changes changes every run."""

from common.seeds import derive


def test_seeds_are_stable_and_differ_by_purpose() -> None:
    assert derive(0, "adapter") == derive(0, "adapter")
    assert len({derive(seed, *purpose) for seed in (0, 1) for purpose in [("a",), ("a", 1), ("a", 2), ("b", 1)]}) == 8
    assert all(0 <= derive(seed, "x") < 2**63 for seed in range(100))


def test_golden() -> None:
    assert derive(0, "batches", "shop-a", 3) == 3943635112862885158
