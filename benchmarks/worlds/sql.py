"""The world of a small database: its tables, and what queries on them return."""

from __future__ import annotations

from collections import Counter
from random import Random

from benchmarks.worlds.facts import Fact, Facts, lookup, read_rows
from benchmarks.worlds.world import World, statements

_PET_COLUMNS = ("name", "kind", "color", "age", "owner", "city")
_PETS = read_rows(
    """
    rex | dog | brown | 7 | alice | lyon
    milo | cat | black | 3 | bruno | oslo
    luna | cat | white | 9 | chen | cairo
    pip | finch | yellow | 1 | dora | lima
    otto | dog | gray | 12 | elif | quito
    nemo | fish | orange | 2 | fritz | tokyo
    coco | parrot | green | 20 | gita | delhi
    buddy | dog | white | 5 | hugo | paris
    shelly | turtle | green | 33 | irma | lima
    dusty | rabbit | gray | 4 | jack | oslo
    ziggy | lizard | green | 6 | kenji | tokyo
    mocha | rabbit | brown | 2 | lars | lyon
    bella | dog | black | 8 | mina | cairo
    tiger | cat | orange | 10 | nora | delhi
    bubbles | fish | red | 1 | omar | cairo
    hazel | rabbit | white | 3 | paula | paris
    kiwi | parrot | blue | 14 | quinn | quito
    rocky | turtle | brown | 51 | rosa | tokyo
    smoky | cat | gray | 6 | sami | lyon
    sunny | finch | orange | 2 | tara | paris
    fang | lizard | black | 5 | uwe | oslo
    biscuit | dog | yellow | 4 | vera | delhi
    pearl | fish | white | 3 | will | lima
    ruby | parrot | red | 11 | xenia | quito
    """
)
_SHOP_COLUMNS = ("item", "price", "stock", "aisle")
_SHOP = read_rows(
    """
    leash | 9 | 40 | a1
    collar | 6 | 75 | a1
    kennel | 80 | 4 | b2
    litter | 12 | 60 | c3
    cage | 45 | 8 | b2
    perch | 5 | 30 | d4
    seeds | 3 | 90 | d4
    tank | 70 | 6 | e5
    pump | 25 | 15 | e5
    flakes | 4 | 85 | c3
    brush | 7 | 50 | a1
    lamp | 18 | 12 | e5
    """
)
# keyword | what it does
_KEYWORDS = read_rows(
    """
    select | lists columns
    from | names the table
    where | filters rows
    group by | gathers groups
    having | filters groups
    order by | sorts rows
    limit | caps the rows
    join | links tables
    distinct | drops duplicates
    insert | adds rows
    update | changes rows
    delete | removes rows
    create table | makes a table
    drop table | destroys a table
    alter table | adds a column
    begin | opens a transaction
    commit | saves a transaction
    rollback | undoes a transaction
    """
)

_QUERIES = (
    "select {col} from {table} where {by} = '{key}'",
    "select {col} from {table} where {by} like '{key}'",
    "select t.{col} from {table} t where t.{by} = '{key}'",
    "select distinct {col} from {table} where {by} = '{key}'",
    "select {col} from {table} where {by} in ('{key}')",
)
_ASKS = ("{} returns what?", "What is printed by {}?")
_LOOKUP_ASKS = tuple(ask.format(query) for query in _QUERIES for ask in _ASKS)
_ROW_STATED = tuple(f"> {query};\n{{answer}}" for query in _QUERIES)


def _columns(
    table: str, names: tuple[str, ...], rows: tuple[tuple[str, ...], ...]
) -> tuple[Facts, ...]:
    """Return the facts of every column but the first, which is the key."""
    return tuple(
        lookup(
            [(row[0], row[cell]) for row in rows],
            _LOOKUP_ASKS,
            _ROW_STATED,
            table=table,
            by=names[0],
            col=names[cell],
        )
        for cell in range(1, len(names))
    )


_OWNED = lookup(
    [(pet[4], pet[0]) for pet in _PETS],
    _LOOKUP_ASKS[:6],
    _ROW_STATED,
    table="pets",
    by="owner",
    col="name",
)


def _counted(cell: int) -> tuple[Fact, ...]:
    counts = Counter(pet[cell] for pet in _PETS)
    fields = {"by": _PET_COLUMNS[cell]}
    return tuple(
        Fact({"key": key, **fields}, str(count), tuple("123456"))
        for key, count in counts.items()
    )


_COUNTS = Facts(
    rows=(*_counted(1), *_counted(2), *_counted(5)),
    questions=(
        "select count(*) from pets where {by} = '{key}' returns what?",
        "What is printed by select count(*) from pets where {by} = '{key}'?",
        "select count(name) from pets where {by} = '{key}' returns what?",
        "What is printed by select count(1) from pets where {by} in ('{key}')?",
    ),
    statements=(
        "> select count(*) from pets where {by} = '{key}';\n{answer}",
        "> select count(name) from pets where {by} = '{key}';\n{answer}",
        "> select count(1) from pets where {by} in ('{key}');\n{answer}",
    ),
)
_WORDS = lookup(
    _KEYWORDS,
    (
        "What does the keyword {key} do?",
        "In a statement, what is the job of {key}?",
        "What do you use {key} for?",
        "The database sees {key} and does what?",
    ),
    ("-- {key}: {answer}", "-- the keyword {key} {answer}"),
)
_PET_FACTS = _columns("pets", _PET_COLUMNS, _PETS)
_SHOP_FACTS = _columns("shop", _SHOP_COLUMNS, _SHOP)
_FACTS = (*_PET_FACTS, *_SHOP_FACTS, _OWNED, _COUNTS, _WORDS)


def _prose(rng: Random) -> str:
    if rng.random() < 0.6:
        start = "psql (pets and shop)\nType help for help.\n"
        return "\n".join(
            statements(rng, _FACTS, words=rng.randint(90, 170), start=start)
        )
    return "\n\n".join((_dump(rng), *(_record(rng) for _ in range(2))))


def _dump(rng: Random) -> str:
    """Return some rows of a table as a client prints them."""
    table, names, rows = rng.choice(
        (("pets", _PET_COLUMNS, _PETS), ("shop", _SHOP_COLUMNS, _SHOP))
    )
    shown = rng.sample(rows, rng.randint(6, 10))
    lines = [" | ".join(row) for row in (names, *shown)]
    query = f"> select * from {table} limit {len(shown)};"
    return "\n".join((query, *lines, f"({len(shown)} rows)"))


def _record(rng: Random) -> str:
    """Return queries for every column of one pet."""
    place = rng.randrange(len(_PETS))
    told = [kind.sentence(kind.rows[place], rng) for kind in _PET_FACTS]
    return "\n".join((*told, _OWNED.sentence(_OWNED.rows[place], rng)))


SQL = World(
    name="sql",
    about="queries on two small tables, and the words of the language",
    facts=_FACTS,
    prose=_prose,
)
