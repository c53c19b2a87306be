"""The FROM clauses of a tenant table and its parents, the same in every engine's SQL but for how names are quoted.

Aliases: t the target, u0 u1 its parents upwards. What is selected from them is the engines' business.
"""

from dataclasses import dataclass

from cata_pipeline.reconcile.contract import BoundTable, Contract


@dataclass(frozen=True)
class Lineage:
    """Where staged keys are stored (`key_targets`), the target joined with its parents (`chain`), and `parents` alone.

    `above` are the parents upwards; without any, `chain` is the target itself and `parents` empty.
    """

    above: tuple[BoundTable, ...]
    key_targets: dict[str, str]
    chain: str
    parents: str


def lineage(bound: BoundTable, contract: Contract, quote: str) -> Lineage:
    """The lineage of a table of the contract; `quote` stands around names."""

    def quoted(name: str) -> str:
        return f"{quote}{name}{quote}"

    def column(alias: str, table: BoundTable, name: str) -> str:
        return f"{alias}.{quoted(table.stored_names[name])}"

    above = tuple(contract.table(table.name) for table in bound.table.ancestors())
    key_targets = {key.column.source: f"t.{quoted(key.stored_name)}" for key in bound.keys}
    parents, joins_target, child, below = "", "", bound, "t"
    for depth, parent in enumerate(above):
        alias, foreign_key = f"u{depth}", child.table.parent_column
        assert foreign_key is not None
        on = f" ON {column(alias, parent, 'id')} = {column(below, child, foreign_key.name)}"
        if depth == 0:
            parents, joins_target = f"{quoted(parent.stored_name)} {alias}", on
        else:
            parents += f" JOIN {quoted(parent.stored_name)} {alias}{on}"
        key_targets |= {key.column.source: f"{alias}.{quoted(key.stored_name)}" for key in parent.keys}
        child, below = parent, alias
    if len(above) > 1:
        parents = f"({parents})"
    target = f"{quoted(bound.stored_name)} t"
    chain = f"({target} JOIN {parents}{joins_target})" if parents else target
    return Lineage(above, key_targets, chain, parents)
