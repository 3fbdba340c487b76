"""Which tokens go into which forward pass, so that no long prefix is computed twice.

What the requests of an evaluation read forms a trie: the demonstrations of a task are
the same for all its questions, a question for all its answers. A branch too large for
one pass is a trunk: its common tokens are computed alone, and what continues them finds
their keys and values in the cache. What fits is laid out as a tree in one row, in which
each token sees the cache and the tokens it follows.

Importing this module imports no torch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

Tokens = tuple[int, ...]

_SHORT = 32  # fewer common tokens than this are computed again, not in a pass of theirs


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """A request: what the model reads, and what its last positions should predict.

    `tokens` is at least as long as `targets`; both are not empty.
    """

    tokens: Tokens
    targets: Tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What one pass may hold: tokens, and prompts (None: as many as fit)."""

    tokens: int
    prompts: int | None = None

    def holds(self, tokens: int, prompts: int) -> bool:
        """Say whether so much fits into one pass."""
        return tokens <= self.tokens and prompts <= (self.prompts or prompts)


@dataclass(frozen=True, slots=True)
class Target:
    """Token `index` of a pass should predict `token`, says request `request`."""

    index: int
    request: int
    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardPass:
    """One row of tokens for the model, after `kept` tokens that its cache holds.

    `parents` says which token of the row each one follows; -1 is the last cached one.
    Each follows an earlier one. The cache may hold more than `kept` tokens before: the
    rest is to be forgotten.
    """

    kept: int
    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    targets: tuple[Target, ...]

    @property
    def is_chain(self) -> bool:
        """Whether each token follows the one before it, as in plain text."""
        return self.parents == tuple(range(-1, len(self.tokens) - 1))

    @property
    def positions(self) -> list[int]:
        """The number of tokens that each one comes after."""
        found: list[int] = []
        for parent in self.parents:
            found.append(self.kept if parent < 0 else found[parent] + 1)
        return found


def plan_passes(
    requests: Sequence[TokenRequest], capacity: Capacity
) -> Iterator[ForwardPass]:
    """Yield the passes that answer all requests, in the order they must be run.

    Each target of each request comes once, a request's in their order. A pass holds no
    more than `capacity`; of the cache a pass keeps what earlier passes have computed.
    """
    forest = _Forest(requests, capacity)
    branches = [_Branch(forest.root, 0)]
    trunks = yield from forest.pass_pieces(branches, kept=0)
    while trunks:
        # The last one found comes first: depth first, the cache then holds the path to
        # what comes next, and a pass has only to forget its end.
        trunk = trunks.pop()
        yield from forest.pass_trunk(trunk)
        node = trunk.node
        branches = [_Branch(child, node.end) for child in node.children]
        trunks += yield from forest.pass_pieces(branches, kept=node.end)


@dataclass(slots=True)
class _Node:
    """A branch of the trie: rows `low` to `high` share tokens `start` to `end`.

    `size` counts the tokens of the branch and of all that grow from it.
    """

    low: int
    high: int
    start: int
    end: int = 0
    size: int = 0
    children: list[_Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Branch:
    """A node whose tokens are needed from `start` on, at or before the node's own."""

    node: _Node
    start: int

    @property
    def size(self) -> int:
        return self.node.size + self.node.start - self.start

    @property
    def num_rows(self) -> int:
        return self.node.high - self.node.low


class _Forest:
    """The sorted inputs without repetition (rows), their trie, and who asks what."""

    def __init__(self, requests: Sequence[TokenRequest], capacity: Capacity) -> None:
        self._capacity = capacity
        askers: dict[Tokens, list[int]] = defaultdict(list)
        for number, request in enumerate(requests):
            askers[request.tokens].append(number)
        self._requests = requests
        # Sorted, what begins alike lies side by side, and a branch is a range of rows.
        self._rows = sorted(askers)
        self._askers = [askers[row] for row in self._rows]
        self.root = _trie(self._rows)

    def pass_pieces(
        self, branches: Iterable[_Branch], *, kept: int
    ) -> Generator[ForwardPass, None, list[_Branch]]:
        """Yield passes over the branches that fit into one; return the trunks."""
        pieces, trunks = self._divide(branches)
        rows: list[int] = []
        tokens = 0
        for piece in pieces:
            if rows and not self._capacity.holds(
                tokens + piece.size, len(rows) + piece.num_rows
            ):
                yield self._lay_out(rows, kept)
                rows, tokens = [], 0
            rows += range(piece.node.low, piece.node.high)
            tokens += piece.size
        if rows:
            yield self._lay_out(rows, kept)
        return trunks

    def pass_trunk(self, trunk: _Branch) -> Iterator[ForwardPass]:
        """Yield the passes over the tokens that the branch's rows have in common."""
        node = trunk.node
        shared = self._rows[node.low]
        # In slices: each finds the tokens before it in the cache.
        for low in range(trunk.start, node.end, self._capacity.tokens):
            tokens = shared[low : min(low + self._capacity.tokens, node.end)]
            places = {low + index: index for index in range(len(tokens))}
            yield ForwardPass(
                kept=low,
                tokens=tokens,
                parents=tuple(range(-1, len(tokens) - 1)),
                # An answer may begin within what is shared (the same first token).
                targets=tuple(
                    target
                    for row in range(node.low, node.high)
                    for target in self._targets(row, places)
                ),
            )

    def _divide(
        self, branches: Iterable[_Branch]
    ) -> tuple[list[_Branch], list[_Branch]]:
        """Return the branches that fit into a pass, and those that are trunks."""
        pieces, trunks = [], []
        waiting = list(branches)[::-1]
        while waiting:
            branch = waiting.pop()
            node = branch.node
            if self._capacity.holds(branch.size, branch.num_rows):
                pieces.append(branch)
            elif node.end - branch.start < _SHORT and not self._ends_in(node):
                # A pass of a few tokens costs more than these tokens in each child's.
                waiting += [_Branch(child, branch.start) for child in node.children]
            else:
                trunks.append(branch)
        # Neighbours next to one another: laid out together they share their beginning.
        pieces.sort(key=lambda piece: piece.node.low)
        return pieces, trunks

    def _ends_in(self, node: _Node) -> bool:
        # Of sorted rows with a common beginning the shortest comes first.
        return len(self._rows[node.low]) == node.end

    def _lay_out(self, rows: Sequence[int], kept: int) -> ForwardPass:
        """Lay sorted rows out as a tree, the common tokens of neighbours once."""
        tokens: list[int] = []
        parents: list[int] = []
        targets: list[Target] = []
        path: list[int] = []  # where in the pass this row's tokens are, from `kept` on
        before: Tokens = ()
        for number in rows:
            row = self._rows[number]
            # Back to where this row leaves the one before; the rest of it is new.
            del path[max(_common(before, row, kept) - kept, 0) :]
            for token in row[kept + len(path) :]:
                parents.append(path[-1] if path else -1)
                path.append(len(tokens))
                tokens.append(token)
            places = {kept + step: index for step, index in enumerate(path)}
            targets += self._targets(number, places)
            before = row
        return ForwardPass(
            kept=kept,
            tokens=tuple(tokens),
            parents=tuple(parents),
            targets=tuple(targets),
        )

    def _targets(self, row: int, places: dict[int, int]) -> Iterator[Target]:
        """Yield what is asked of a row where `places` maps positions to tokens."""
        for number in self._askers[row]:
            targets = self._requests[number].targets
            # The last position read predicts the last target.
            first = len(self._rows[row]) - len(targets)
            for position, token in enumerate(targets, start=first):
                if position in places:
                    yield Target(places[position], number, token)


def _trie(rows: Sequence[Tokens]) -> _Node:
    """Return the root of the trie of sorted rows, no two of them equal."""
    root = _Node(0, len(rows), 0)
    order: list[_Node] = []  # parents before children; no recursion: texts are long
    waiting = [root] if rows else []
    while waiting:
        node = waiting.pop()
        order.append(node)
        # What the first and the last of sorted rows share, all between them share.
        first, last = rows[node.low], rows[node.high - 1]
        node.end = len(first)
        if node.high - node.low > 1:
            node.end = _common(first, last, node.start)
        node.children = list(_children(rows, node))
        waiting += node.children
    for node in reversed(order):
        node.size = node.end - node.start + sum(child.size for child in node.children)
    return root


def _children(rows: Sequence[Tokens], node: _Node) -> Iterator[_Node]:
    low = node.low + (len(rows[node.low]) == node.end)  # a row may end in the node
    for row in range(low, node.high):
        if row + 1 == node.high or rows[row][node.end] != rows[row + 1][node.end]:
            yield _Node(low, row + 1, node.end)
            low = row + 1


def _common(one: Tokens, other: Tokens, start: int) -> int:
    """Return the length of the common prefix, of which `start` tokens are known."""
    length = min(len(one), len(other))
    for position in range(start, length):
        if one[position] != other[position]:
            return position
    return length
