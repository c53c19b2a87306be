"""The SQL of a MySQL or MariaDB reconcile, one table at a time, made from the policy's columns.

Nothing is executed here. What holds throughout:

- Texts are compared as bytes: the usual collations take `latte`, `Latte ` and `Latté` for `Latte`. Keys are joined
  under the column's own collation, so that its index is used, and compared as bytes besides.
- MySQL opens a temporary table once a statement, so no statement names one twice.
- Staged rows are numbered in key order, and rows are locked in that order.

Aliases: s staged, t target, p plan, b before, a after, h to hide, x hidden, u0 u1 the target's parents upwards, sp si
the staged parent and item.
"""

from collections.abc import Iterator
from typing import cast

import pyarrow as pa

from cata_pipeline.reconcile.contract import BoundColumn, BoundTable, Contract
from cata_pipeline.reconcile.lineage import lineage
from cata_pipeline.reconcile.policy import Kind, Rule

_TEXT_TYPES = ("varchar", "char", "tinytext", "text", "mediumtext", "longtext", "enum")
_STAGED_TYPES = {
    pa.string(): "longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    pa.bool_(): "tinyint NOT NULL",
    pa.int32(): "int",
}
CHANGES_A_PAGE = 10_000


class TableStatements:
    """The statements for one table of a tenant database; the outcome stays in temporary tables of the session.

    `contract` is there for the parents: a child row is known by their keys too.
    """

    def __init__(self, bound: BoundTable, contract: Contract, *, mariadb: bool) -> None:
        self.name = bound.name
        origin = lineage(bound, contract, "`")
        self._above, self._key_targets = origin.above, origin.key_targets
        self._chain, self._parents = origin.chain, origin.parents
        self.bound = bound
        self.written = bound.written
        self.keys = bound.table.keys
        self.key_columns = {column.column.source: column for table in (bound, *self._above) for column in table.keys}
        self.stage, self._plan, self._hides, self._before, self._after, self._hidden = (
            f"`cata_{kind}_{self.name}`" for kind in ("stage", "plan", "hide", "before", "after", "hidden")
        )
        self._mariadb = mariadb
        self._target = f"`{bound.stored_name}`"
        self._id = _stored("t", bound, "id")

    @property
    def has_parent(self) -> bool:
        """Whether this is a structure table."""
        return self.bound.table.parent is not None

    @property
    def _own_keys(self) -> tuple[str, ...]:
        return tuple(column.source for column in self.bound.table.own_keys)

    @property
    def _parent_keys(self) -> tuple[str, ...]:
        return self.keys[: -len(self._own_keys)]

    def _found(self, key: str, staged: str) -> str:
        """A staged key equals the stored one under the column's collation, and therefore by its index."""
        return f"{self._key_targets[key]} = {staged}.`{key}`"

    def _same(self, key: str, staged: str) -> str:
        """A staged key equals the stored one byte for byte."""
        found = self._found(key, staged)
        column = self.key_columns[key]
        if not _is_text(column):
            return found
        return f"{found} AND {self._exactly(self._key_targets[key], '=', f'{staged}.`{key}`', column)}"

    def _exactly(self, left: str, operator: str, right: str, column: BoundColumn) -> str:
        """A comparison of two texts byte for byte; `column` is where they are, or are to be, stored.

        Between texts of utf8mb4 the binary collation is quicker than a cast. That it ignores no trailing spaces is
        certain on MariaDB only; MySQL's of that kind came in the middle of a release.
        """
        if self._mariadb and "CHARACTER SET utf8mb4 " in column.actual.type:
            return f"{left} COLLATE utf8mb4_nopad_bin {operator} {right}"
        return f"{_bytes(left)} {operator} {_bytes(right)}"

    def _all_same(self, keys: tuple[str, ...], staged: str = "s") -> str:
        return " AND ".join(self._same(key, staged) for key in keys)

    def _key_list(self, alias: str) -> str:
        return ", ".join(f"{alias}.`{key}`" for key in self.keys)

    @property
    def _columns(self) -> str:
        """The target's columns that a re-sync may write, under the policy's names."""
        return ", ".join(f"t.`{column.stored_name}` AS `{column.name}`" for column in self.written)

    @property
    def _visible(self) -> BoundColumn:
        return cast("BoundColumn", self.bound.column("visible"))

    def create_stage(self, schema: pa.Schema) -> str:
        """The table that staged rows are loaded into, numbered by `n`; keys have the target's own types."""
        columns = ", ".join(
            f"`{field.name}` {self.key_columns[field.name].actual.type} NOT NULL"
            if field.name in self.key_columns
            else f"`{field.name}` {_STAGED_TYPES[field.type]}"
            for field in schema
        )
        return f"""
            CREATE TEMPORARY TABLE {self.stage} (
                `n` int unsigned NOT NULL PRIMARY KEY, {columns}, KEY (`item_code`)) ENGINE = InnoDB"""

    def plan_statement(self) -> str:
        """The plan: rows to insert (no `target_id`) or update, and those whose key another stored row holds."""
        respelled = " OR ".join(
            self._exactly(self._key_targets[key], "<>", f"s.`{key}`", self.key_columns[key])
            for key in self._own_keys
            if _is_text(self.key_columns[key])
        )
        collides = f"({self._id} IS NOT NULL AND ({respelled or 'FALSE'}))"
        on = " AND ".join(
            [
                *(self._same(key, "s") for key in self._parent_keys),
                *(self._found(key, "s") for key in self._own_keys),
            ]
        )
        return f"""
            CREATE TEMPORARY TABLE {self._plan} (
                PRIMARY KEY (`n`), `locked` tinyint NOT NULL DEFAULT 0) ENGINE = InnoDB
            SELECT s.`n`, {self._id} AS `target_id`, {collides} AS `collides`
            FROM {self.stage} s LEFT JOIN {self._chain} ON {on}
            WHERE {self._id} IS NULL OR {collides} OR (s.`writable` AND ({self._differs("t")}))"""

    def outcome_statements(self) -> Iterator[str]:
        """Temporary tables with the children to hide, and room for the outcome."""
        yield self._create_hides()
        for table in (self._before, self._after):
            yield f"""
                CREATE TEMPORARY TABLE {table} (PRIMARY KEY (`n`)) ENGINE = InnoDB
                SELECT p.`n`, {self._id} AS `target_id`, {self._columns}
                FROM {self._plan} p JOIN {self._target} t ON {self._id} = p.`target_id` WHERE FALSE"""
        yield f"""
            CREATE TEMPORARY TABLE {self._hidden} (PRIMARY KEY (`n`)) ENGINE = InnoDB
            SELECT h.`n`, h.`target_id` FROM {self._hides} h WHERE FALSE"""

    def _create_hides(self) -> str:
        keys = ", ".join(f"{target} AS `{key}`" for key, target in self._key_targets.items())
        order = ", ".join(_bytes(self._key_targets[key]) for key in self.keys)
        head = f"""
            CREATE TEMPORARY TABLE {self._hides} (
                `n` int unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY) ENGINE = InnoDB
            SELECT {keys}, {self._id} AS `target_id`"""
        parent = self.bound.table.parent
        if parent is None:
            return f"{head} FROM {self._chain} WHERE FALSE"
        listed = self.bound.table.listed_by
        parent_stage = f"`cata_stage_{parent.name}`"
        if parent.parent is None:
            listing = f"JOIN {parent_stage} sp ON {self._all_same(parent.keys, 'sp')} AND sp.`{listed}`"
            both_writable = ""
        else:
            listing = f"""
                JOIN {parent_stage} sp ON {self._all_same(parent.keys, "sp")}
                JOIN `cata_stage_items` si ON {self._same("item_code", "si")} AND si.`{listed}`"""
            both_writable = " AND si.`writable`"
        # A child whose code is only respelled cannot be stored beside its old self, so it is not hidden either.
        matching = " AND ".join(
            [
                *(self._same(key, "s") for key in self._parent_keys),
                *(self._found(key, "s") for key in self._own_keys),
            ]
        )
        return f"""{head}
            FROM {self._chain}
            {listing}
            WHERE {_is_true("t", self._visible)} AND sp.`writable`{both_writable}
              AND NOT EXISTS (SELECT 1 FROM {self.stage} s WHERE {matching})
            ORDER BY {order}"""

    def count_unmatched(self) -> str:
        """Staged rows that name no stored row."""
        return f"SELECT COUNT(*) FROM {self._plan} WHERE `target_id` IS NULL OR `collides`"

    def taken(self) -> str:
        """Staged rows whose key is taken by a stored row of another spelling: number, item code, own key, theirs."""
        shown = self._own_keys[0]
        return f"""
            SELECT s.`n`, s.`item_code`, s.`{shown}`, {self._key_targets[shown]}
            FROM {self._plan} p JOIN {self.stage} s ON s.`n` = p.`n` JOIN {self._target} t ON {self._id} = p.`target_id`
            WHERE p.`collides` AND s.`writable` ORDER BY s.`n`"""

    def rivals(self) -> str:
        """Of new rows whose keys are equal under the column's collation, all but the first: as `taken`."""
        equals = ", ".join(
            [
                *(_bytes(f"s.`{key}`") for key in self._parent_keys),
                *(f"s.`{key}`" for key in self._own_keys),
            ]
        )
        shown = self._own_keys[0]
        return f"""
            SELECT `n`, `item_code`, `own`, `first` FROM (
                SELECT s.`n`, s.`item_code`, s.`{shown}` AS `own`,
                       ROW_NUMBER() OVER (PARTITION BY {equals} ORDER BY s.`n`) AS `place`,
                       FIRST_VALUE(s.`{shown}`) OVER (PARTITION BY {equals} ORDER BY s.`n`) AS `first`
                FROM {self._plan} p JOIN {self.stage} s ON s.`n` = p.`n`
                WHERE p.`target_id` IS NULL AND s.`writable`) AS `ranked`
            WHERE `place` > 1 ORDER BY `n`"""

    def refuse(self, numbers: list[int]) -> str:
        """Mark staged rows as not writable."""
        listed = ", ".join(str(number) for number in numbers)
        return f"UPDATE {self.stage} SET `writable` = 0 WHERE `n` IN ({listed})"

    def refuse_children(self) -> str:
        """Mark staged rows whose parent is not writable alike."""
        parent = self.bound.table.parent
        assert parent is not None
        equal = " AND ".join(
            f"sp.`{key}` = s.`{key}`"
            + (f" AND {_bytes(f'sp.`{key}`')} = {_bytes(f's.`{key}`')}" if _is_text(self.key_columns[key]) else "")
            for key in parent.keys
        )
        return f"""
            UPDATE {self.stage} s JOIN `cata_stage_{parent.name}` sp ON {equal}
            SET s.`writable` = 0 WHERE NOT sp.`writable`"""

    def forget_refused(self) -> str:
        """Take what is not writable out of the plan."""
        return f"DELETE p FROM {self._plan} p JOIN {self.stage} s ON s.`n` = p.`n` WHERE NOT s.`writable`"

    def totals(self) -> str:
        """Items of the tenant, visible ones, and those that have a code."""
        visible = _is_true("t", self._visible)
        code = self._key_targets["item_code"]
        return f"SELECT COUNT(*), COALESCE(SUM({visible}), 0), COUNT({code}) FROM {self._target} t"

    def count_visible(self) -> str:
        """Visible rows."""
        return f"SELECT COUNT(*) FROM {self._target} t WHERE {_is_true('t', self._visible)}"

    def count_deactivated(self) -> str:
        """Visible rows that the plan hides because the provider calls them inactive."""
        return f"""
            SELECT COUNT(*) FROM {self._plan} p JOIN {self.stage} s ON s.`n` = p.`n`
            JOIN {self._target} t ON {self._id} = p.`target_id`
            WHERE {_is_true("t", self._visible)} AND NOT s.`is_active`"""

    def count_plan(self) -> str:
        """Rows to insert or update."""
        return f"SELECT COUNT(*) FROM {self._plan}"

    def count_hides(self) -> str:
        """Children to hide."""
        return f"SELECT COUNT(*) FROM {self._hides}"

    def plan_counts(self) -> str:
        """Insertions, updates, and of the updates: hides, renames, dropped pictures, changed categories."""
        stored = f"{self._id} IS NOT NULL"
        category = self.bound.column("category")
        picture = _stored("t", self.bound, "external_image_url")
        conditions = [
            f"{self._id} IS NULL",
            stored,
            f"{stored} AND {_is_true('t', self._visible)} AND NOT s.`is_active`",
            f"{stored} AND {self._differ(cast('BoundColumn', self.bound.column('original_name')), 't')}",
            f"{stored} AND {_length(picture)} > 0 AND {_length('s.`external_image_url`')} = 0",
            f"{stored} AND {self._differ(category, 't')}" if category else "FALSE",
        ]
        sums = ", ".join(f"COALESCE(SUM({condition}), 0)" for condition in conditions)
        return f"""
            SELECT {sums} FROM {self._plan} p JOIN {self.stage} s ON s.`n` = p.`n`
            LEFT JOIN {self._target} t ON {self._id} = p.`target_id`"""

    def stale_codes(self) -> str:
        """Item codes the snapshot does not name; one parameter, the limit."""
        code = self._key_targets["item_code"]
        return f"""
            SELECT {code} FROM {self._target} t
            WHERE {code} IS NOT NULL
              AND NOT EXISTS (SELECT 1 FROM {self.stage} s WHERE {self._all_same(self.keys)})
            ORDER BY {_bytes(code)} LIMIT %s"""

    def keep_before(self, locking: str = "") -> str:
        """Keep the values of the planned rows that exist; with a `locking` clause as they really are now.

        A locking read sees the newest committed version. `STRAIGHT_JOIN` from the plan's primary key locks in key
        order; an ORDER BY alone would sort after locking.
        """
        return f"""
            INSERT INTO {self._before}
            SELECT STRAIGHT_JOIN p.`n`, {self._id}, {self._columns}
            FROM {self._plan} p FORCE INDEX (PRIMARY) JOIN {self.stage} s ON s.`n` = p.`n`
            JOIN {self._target} t ON {self._id} = p.`target_id` AND {self._all_same(self._own_keys)}
            WHERE NOT p.`locked` ORDER BY p.`n` {locking}"""

    def settle_locked(self) -> Iterator[str]:
        """Note which planned rows are locked; one that was deleted meanwhile becomes an insertion."""
        yield f"UPDATE {self._plan} p JOIN {self._before} b ON b.`n` = p.`n` SET p.`locked` = 1"
        yield f"UPDATE {self._plan} SET `target_id` = NULL WHERE `target_id` IS NOT NULL AND NOT `locked`"

    def count_insertions(self) -> str:
        """How many rows `insert` should insert."""
        return f"SELECT COUNT(*) FROM {self._plan} WHERE `target_id` IS NULL"

    def insert(self) -> str:
        """Insert the planned rows that do not exist; a key that appeared meanwhile is an error, never overwritten.

        Neither IGNORE (which also cuts texts and bends wrong values) nor ON DUPLICATE KEY UPDATE (which would write
        the merchant's row without looking at its name).
        """
        columns = (*self.bound.keys, *self.written)
        names, values = [column.stored_name for column in columns], [_new(column) for column in columns]
        source = f"{self._plan} p FORCE INDEX (PRIMARY) STRAIGHT_JOIN {self.stage} s ON s.`n` = p.`n`"
        parent_column = self.bound.table.parent_column
        if parent_column:
            names.append(self.bound.stored_names[parent_column.name])
            values.append(_stored("u0", self._above[0], "id"))
            source += f" JOIN {self._parents} ON {self._all_same(self._parent_keys)}"
        return f"""
            INSERT INTO {self._target} ({", ".join(f"`{name}`" for name in names)})
            SELECT {", ".join(values)} FROM {source} WHERE p.`target_id` IS NULL ORDER BY p.`n`"""

    def adopt_existing(self) -> str:
        """Give planned insertions that exist by now their target, so that they are updated like any other row."""
        return f"""
            UPDATE {self._plan} p JOIN {self.stage} s ON s.`n` = p.`n` JOIN {self._chain} ON {self._all_same(self.keys)}
            SET p.`target_id` = {self._id} WHERE p.`target_id` IS NULL"""

    def forget_orphans(self) -> str:
        """Leave out planned insertions whose parent is gone."""
        return f"""
            DELETE p FROM {self._plan} p JOIN {self.stage} s ON s.`n` = p.`n`
            LEFT JOIN {self._parents} ON {self._all_same(self._parent_keys)}
            WHERE p.`target_id` IS NULL AND {_stored("u0", self._above[0], "id")} IS NULL"""

    def decide_after(self) -> str:
        """The new values of the rows that really change, from their values as kept (and locked) before.

        An UPDATE that joins promises no order of its assignments, and a plain one sees `original_name` changed if that
        comes first; so the name is decided here, where old values are all there is.
        """
        values = ", ".join(self._assigned(column) for column in self.written)
        return f"""
            INSERT INTO {self._after}
            SELECT b.`n`, b.`target_id`, {values}
            FROM {self._before} b JOIN {self.stage} s ON s.`n` = b.`n` WHERE {self._differs("b")} ORDER BY b.`n`"""

    def update(self) -> str:
        """Write the decided values to the locked rows."""
        assignments = ", ".join(f"t.`{column.stored_name}` = a.`{column.name}`" for column in self.written)
        return f"""
            UPDATE {self._after} a STRAIGHT_JOIN {self._target} t ON {self._id} = a.`target_id` SET {assignments}"""

    def keep_hidden(self, locking: str = "") -> str:
        """Keep which children will be hidden: those that still are visible, locked in key order."""
        return f"""
            INSERT INTO {self._hidden}
            SELECT STRAIGHT_JOIN h.`n`, {self._id}
            FROM {self._hides} h FORCE INDEX (PRIMARY) JOIN {self._target} t ON {self._id} = h.`target_id`
            WHERE {_is_true("t", self._visible)} ORDER BY h.`n` {locking}"""

    def hide(self) -> str:
        """Hide the children that are kept and locked for it."""
        return f"""
            UPDATE {self._hidden} x STRAIGHT_JOIN {self._target} t ON {self._id} = x.`target_id`
            SET {_value("t", self._visible)} = 0"""

    def item_counts(self) -> str:
        """Updated rows, and the rest of `ItemCounts` in its order."""
        before, after = _is_true("b", self._visible), _is_true("a", self._visible)
        renamed = f"NOT ({_bytes('b.`original_name`')} <=> {_bytes('a.`original_name`')})"
        same_name = f"({_bytes('b.`name`')} <=> {_bytes('a.`name`')})"
        conditions = [
            f"{renamed} AND NOT {same_name}",
            f"{renamed} AND {same_name}",
            f"{before} AND NOT {after}",
            f"{after} AND NOT {before}",
            f"NOT ({_bytes('b.`external_image_url`')} <=> {_bytes('a.`external_image_url`')})",
        ]
        sums = ", ".join(f"COALESCE(SUM({condition}), 0)" for condition in conditions)
        return f"SELECT COUNT(*), {sums} FROM {self._before} b JOIN {self._after} a ON a.`n` = b.`n`"

    def count_updated(self) -> str:
        """Rows that change."""
        return f"SELECT COUNT(*) FROM {self._after}"

    def count_hidden(self) -> str:
        """Children that are hidden."""
        return f"SELECT COUNT(*) FROM {self._hidden}"

    def updated_page(self) -> str:
        """Number, keys, all old and then all new values of changed rows after a number (the parameter)."""
        values = ", ".join(_shown(column, alias) for alias in "ba" for column in self.written)
        return f"""
            SELECT a.`n`, {self._key_list("s")}, {values}
            FROM {self._after} a JOIN {self._before} b ON b.`n` = a.`n` JOIN {self.stage} s ON s.`n` = a.`n`
            WHERE a.`n` > %s ORDER BY a.`n` LIMIT {CHANGES_A_PAGE}"""

    def hidden_page(self) -> str:
        """Number and keys of hidden children after a number (the parameter)."""
        return f"""
            SELECT x.`n`, {self._key_list("h")} FROM {self._hidden} x JOIN {self._hides} h ON h.`n` = x.`n`
            WHERE x.`n` > %s ORDER BY x.`n` LIMIT {CHANGES_A_PAGE}"""

    def inserted_page(self) -> str:
        """Number, keys and values of insertions after a number (the parameter)."""
        values = ", ".join(_new(column) for column in self.written)
        return f"""
            SELECT p.`n`, {self._key_list("s")}, {values}
            FROM {self._plan} p JOIN {self.stage} s ON s.`n` = p.`n`
            WHERE p.`target_id` IS NULL AND p.`n` > %s ORDER BY p.`n` LIMIT {CHANGES_A_PAGE}"""

    def _differs(self, alias: str) -> str:
        return " OR ".join(filter(None, (self._differ(column, alias) for column in self.written)))

    def _differ(self, column: BoundColumn, alias: str) -> str:
        """Whether a sync would change this column; empty where another column's difference already says so."""
        stored, staged = _value(alias, column), _new(column)
        if column.rule is Rule.WHILE_EQUAL:
            return ""
        if column.rule is Rule.WHILE_NULL:
            return f"({stored} IS NULL AND {staged} IS NOT NULL)"
        if column.column.kind is Kind.JSON and _is_text(column) and self._mariadb:
            return f"NOT ({_compact(stored)} <=> {_compact(staged)})"
        if _is_text(column):
            return f"NOT ({self._exactly(stored, '<=>', staged, column)})"
        return f"NOT ({stored} <=> {staged})"

    def _assigned(self, column: BoundColumn) -> str:
        """The value a changed row gets; reads no row but the kept and the staged one."""
        kept = f"b.`{column.name}`"
        if column.rule is Rule.WHILE_EQUAL:
            companion = f"b.`{column.column.companion}`"
            return f"IF({self._exactly(kept, '<=>', companion, column)}, {_new(column)}, {kept})"
        if column.rule is Rule.WHILE_NULL:
            return f"COALESCE({kept}, {_new(column)})"
        return _new(column)


def _stored(alias: str, bound: BoundTable, name: str) -> str:
    """A column of a tenant table, by the policy's name."""
    return f"{alias}.`{bound.stored_names[name]}`"


def _value(alias: str, column: BoundColumn) -> str:
    """A column of the target (t) by its own name, of a temporary table by the policy's."""
    return f"{alias}.`{column.stored_name if alias == 't' else column.name}`"


def _is_text(column: BoundColumn) -> bool:
    return column.actual.type.startswith(_TEXT_TYPES)


def _bytes(expression: str) -> str:
    return f"CAST({expression} AS BINARY)"


def _compact(expression: str) -> str:
    """JSON in a text column without the spaces that mean nothing; what is no JSON stays as it is."""
    return _bytes(f"COALESCE(JSON_COMPACT({expression}), {expression})")


def _is_true(alias: str, column: BoundColumn) -> str:
    return f"(COALESCE({_value(alias, column)}, 0) <> 0)"


def _length(text: str) -> str:
    return f"COALESCE(LENGTH({text}), 0)"


def _shown(column: BoundColumn, alias: str) -> str:
    value = f"{alias}.`{column.name}`"
    return f"({value} <> 0)" if column.column.kind is Kind.BOOLEAN else value


def _new(column: BoundColumn) -> str:
    """The staged value in the target's own type. Text is never cast: a cast to char(n) cuts silently."""
    value, kind = f"s.`{column.column.source}`", column.actual.type
    if column.column.kind is Kind.JSON and kind == "json":
        value = f"CAST({value} AS JSON)"
    elif column.column.kind is Kind.DECIMAL and column.actual.whole:
        value = f"CAST({value} AS DECIMAL(65, 0))"
    elif column.column.kind is Kind.DECIMAL and kind.startswith("decimal"):
        value = f"CAST({value} AS {kind.partition(' ')[0].upper()})"
    elif column.column.kind is Kind.DECIMAL and not _is_text(column):
        value = f"({value} + 0e0)"
    stands_in = column.actual.default if not column.actual.nullable else None
    return f"COALESCE({value}, {stands_in})" if stands_in else value
