"""The SQL of a MySQL or MariaDB reconcile, one table at a time, made from the policy's columns.

Nothing is executed here. What holds throughout:

- Texts are compared as bytes: the usual collations take `latte`, `Latte ` and `Latté` for `Latte`. Keys are joined
  under the column's own collation, so that its index is used, and compared as bytes besides.
- MySQL opens a temporary table once a statement, so no statement names one twice.
- Staged rows are numbered (`n`) in the order in which rows are locked, and a child names its parent's row by number
  (`parent_n`).

Aliases: s staged, t target, p plan, f found, pp sp the parent's plan and stage, u the target's parent, b before,
a after, h to hide, x hidden.
"""

from collections.abc import Collection, Iterator
from typing import cast

import pyarrow as pa

from cata_pipeline.reconcile.column_types import Family, is_text
from cata_pipeline.reconcile.contract import BoundColumn, BoundTable, Contract
from cata_pipeline.reconcile.policy import ITEMS, Kind, Rule
from cata_pipeline.reconcile.stage import StagedTable

_STAGED_TYPES = {
    pa.string(): "longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
    pa.bool_(): "tinyint NOT NULL",
    pa.int32(): "int",
}
CHANGES_A_PAGE = 10_000
UPDATE, INSERT = 1, 2
"""What the plan does with a staged row; 0 is nothing."""


class TableStatements:
    """The statements for one table of a tenant database; the outcome stays in temporary tables of the session."""

    def __init__(self, bound: BoundTable, contract: Contract, staged: StagedTable, *, mariadb: bool) -> None:
        self.name = bound.name
        self.bound = bound
        self.staged = staged
        self.written = bound.written
        self._parent = next((table for table in contract.tables if table.table is bound.table.parent), None)
        self.has_children = any(table.table.parent is bound.table for table in contract.tables)
        self.stage, self.plan, self._found, self._hides, self._before, self._after, self._hidden = (
            f"`cata_{kind}_{self.name}`" for kind in ("stage", "plan", "found", "hide", "before", "after", "hidden")
        )
        self._mariadb = mariadb
        self._target = f"`{bound.stored_name}`"
        self._id = _stored("t", bound, "id")

    @property
    def has_parent(self) -> bool:
        """Whether this is a structure table."""
        return self._parent is not None

    @property
    def loaded(self) -> list[str]:
        """The staged columns that the statements read."""
        needed = ["n", "writable", *(f"keeps_{source}" for source in self.staged.kept)]
        needed += ["parent_n"] if self._parent else []
        needed += ["is_parent"] if self.has_children else []
        if self.has_children and self.bound.table is ITEMS:
            needed += ["lists_modifiers", "lists_components"]
        needed += [column.column.source for column in (*self.bound.keys, *self.written)]
        return [name for name in self.staged.rows.column_names if name in needed]

    @property
    def _key_types(self) -> dict[str, str]:
        return {key.column.source: key.actual.type for key in self.bound.keys}

    @property
    def _parent_plan(self) -> str:
        assert self._parent is not None
        return f"`cata_plan_{self._parent.name}`"

    @property
    def _parent_column(self) -> str:
        column = self.bound.table.parent_column
        assert column is not None
        return _stored("t", self.bound, column.name)

    def _joined_parent(self) -> str:
        return f"STRAIGHT_JOIN {self._parent_plan} pp ON pp.`n` = s.`parent_n`" if self._parent else ""

    def _exactly(self, left: str, operator: str, right: str, column: BoundColumn) -> str:
        """A comparison of two texts byte for byte; `column` is where they are, or are to be, stored.

        Between texts of utf8mb4 the binary collation is quicker than a cast. That it ignores no trailing spaces is
        certain on MariaDB only; MySQL's of that kind came in the middle of a release.
        """
        if self._mariadb and "CHARACTER SET utf8mb4 " in column.actual.type:
            return f"{left} COLLATE utf8mb4_nopad_bin {operator} {right}"
        return f"{_bytes(left)} {operator} {_bytes(right)}"

    def _found_by_key(self) -> str:
        """The unique key takes the staged row (s) for the stored one (t): the condition its index serves."""
        own = [f"t.`{key.stored_name}` = s.`{key.column.source}`" for key in self.bound.keys]
        return " AND ".join([*([f"{self._parent_column} = pp.`target_id`"] if self._parent else []), *own])

    def _own_keys_same(self) -> str:
        """The own keys are the same, byte for byte."""
        return " AND ".join(
            self._exactly(f"t.`{key.stored_name}`", "=", f"s.`{key.column.source}`", key)
            if _is_text(key)
            else f"t.`{key.stored_name}` = s.`{key.column.source}`"
            for key in self.bound.keys
        )

    def _respelled(self) -> str:
        """The own keys differ in their bytes, although the unique key takes them for equal."""
        return " OR ".join(
            self._exactly(f"t.`{key.stored_name}`", "<>", f"s.`{key.column.source}`", key)
            for key in self.bound.keys
            if _is_text(key)
        )

    def _matching(self) -> str:
        return f"{self._found_by_key()} AND {self._own_keys_same()}"

    @property
    def _columns(self) -> str:
        """The target's columns that a re-sync may write, under the policy's names."""
        return ", ".join(f"t.`{column.stored_name}` AS `{column.name}`" for column in self.written)

    @property
    def _visible(self) -> BoundColumn:
        return cast("BoundColumn", self.bound.column("visible"))

    def create_stage(self, schema: pa.Schema) -> str:
        """The table that staged rows are loaded into; keys have the target's own types."""
        columns = ", ".join(
            f"`{field.name}` {self._key_types[field.name]} NOT NULL"
            if field.name in self._key_types
            else f"`{field.name}` {_STAGED_TYPES[field.type]}{' PRIMARY KEY' if field.name == 'n' else ''}"
            for field in schema
        )
        return f"CREATE TEMPORARY TABLE {self.stage} ({columns}) ENGINE = InnoDB"

    def plan_statement(self) -> str:
        """The plan: rows to write, rows that name no stored one, and rows whose key another stored row holds.

        That of parents and children holds all rows, because children find their parents in it, and those that are not
        listed any more are what it lacks. `held_by` is the row that the unique key finds, `target_id` the row itself,
        `was_visible` whether the former is visible.
        """
        respelled = f"({self._id} IS NOT NULL AND ({self._respelled() or 'FALSE'}))"
        differs = self._differs_any("t")
        whole = self.has_children or self.has_parent
        parent = "s.`is_parent`" if self.has_children else "FALSE"
        chosen = "" if whole else f"WHERE {self._id} IS NULL OR {respelled} OR (s.`writable` AND ({differs}))"
        return f"""
            CREATE TEMPORARY TABLE {self.plan} (
                PRIMARY KEY (`n`), `action` tinyint NOT NULL, `was_visible` tinyint NOT NULL,
                `is_parent` tinyint NOT NULL) ENGINE = InnoDB
            SELECT s.`n`, IF({respelled}, NULL, {self._id}) AS `target_id`, {self._id} AS `held_by`,
                   {_is_true("t", self._visible)} AS `was_visible`, {parent} AS `is_parent`,
                   CASE WHEN NOT s.`writable` OR {respelled} THEN 0 WHEN {self._id} IS NULL THEN {INSERT}
                        WHEN {differs} THEN {UPDATE} ELSE 0 END AS `action`
            FROM {self.stage} s {self._joined_parent()} LEFT JOIN {self._target} t ON {self._found_by_key()} {chosen}"""

    def count_listed(self) -> str:
        """Visible rows that the plan names."""
        return f"SELECT COUNT(*) FROM {self.plan} WHERE `was_visible`"

    def outcome_statements(self, *, unlisted: bool) -> Iterator[str]:
        """Temporary tables with the children to hide, and room for the outcome.

        `unlisted` says whether there may be visible children that the plan does not name.
        """
        yield f"""
            CREATE TEMPORARY TABLE {self._found} (PRIMARY KEY (`n`)) ENGINE = InnoDB
            SELECT p.`n`, p.`target_id` FROM {self.plan} p WHERE FALSE"""
        if unlisted:
            yield f"ALTER TABLE {self.plan} ADD KEY (`held_by`)"
        yield self._create_hides(unlisted=unlisted)
        for table in (self._before, self._after):
            yield f"""
                CREATE TEMPORARY TABLE {table} (PRIMARY KEY (`n`)) ENGINE = InnoDB
                SELECT p.`n`, {self._id} AS `target_id`, {self._columns}
                FROM {self.plan} p JOIN {self._target} t ON {self._id} = p.`target_id` WHERE FALSE"""
        yield f"""
            CREATE TEMPORARY TABLE {self._hidden} (PRIMARY KEY (`n`)) ENGINE = InnoDB
            SELECT h.`n`, h.`target_id` FROM {self._hides} h WHERE FALSE"""

    def _create_hides(self, *, unlisted: bool) -> str:
        """Visible children that their present parent, which lists such children, no longer names.

        A child whose code is only respelled cannot be stored beside its old self, so it is not hidden either.
        """
        keys = ", ".join(f"t.`{key.stored_name}` AS `{key.column.source}`" for key in self.bound.keys)
        head = f"""
            CREATE TEMPORARY TABLE {self._hides} (
                `n` int unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY) ENGINE = InnoDB
            SELECT STRAIGHT_JOIN {self._id} AS `target_id`, {keys}"""
        if self._parent is None:
            return f"{head} FROM {self._target} t WHERE FALSE"
        listed = f"AND sp.`{self.bound.table.listed_by}`" if self._parent.table is ITEMS else ""
        return f"""{head}, pp.`n` AS `parent_n`
            FROM {self._parent_plan} pp JOIN `cata_stage_{self._parent.name}` sp ON sp.`n` = pp.`n`
            JOIN {self._target} t ON {self._parent_column} = pp.`target_id`
            LEFT JOIN {self.plan} p ON p.`held_by` = {self._id}
            WHERE {unlisted} AND {_is_true("t", self._visible)} AND sp.`writable` {listed} AND p.`n` IS NULL
            ORDER BY pp.`n`"""

    def taken(self) -> str:
        """Staged rows whose key is taken by a stored row of another spelling: number, own key, theirs."""
        own = self.bound.keys[0]
        return f"""
            SELECT s.`n`, s.`{own.column.source}`, t.`{own.stored_name}`
            FROM {self.plan} p STRAIGHT_JOIN {self._target} t ON {self._id} = p.`held_by`
            STRAIGHT_JOIN {self.stage} s ON s.`n` = p.`n` WHERE p.`target_id` IS NULL AND s.`writable` ORDER BY s.`n`"""

    def rivals(self) -> str:
        """Of new rows whose keys are equal under the column's collation, all but the first: as `taken`."""
        parent = ["s.`parent_n`"] if self._parent else []
        equals = ", ".join([*parent, *(f"s.`{key.column.source}`" for key in self.bound.keys)])
        shown = f"s.`{self.bound.keys[0].column.source}`"
        return f"""
            SELECT `n`, `own`, `first` FROM (
                SELECT s.`n`, {shown} AS `own`,
                       ROW_NUMBER() OVER (PARTITION BY {equals} ORDER BY s.`n`) AS `place`,
                       FIRST_VALUE({shown}) OVER (PARTITION BY {equals} ORDER BY s.`n`) AS `first`
                FROM {self.plan} p JOIN {self.stage} s ON s.`n` = p.`n` WHERE p.`action` = {INSERT}) AS `ranked`
            WHERE `place` > 1 ORDER BY `n`"""

    def refuse(self) -> str:
        """Take rows out of the plan; one parameter, their numbers."""
        return f"UPDATE {self.plan} SET `action` = 0 WHERE `n` IN %s"

    def refuse_children(self) -> str:
        """Take new rows out of the plan whose parent is neither there nor planned."""
        return f"""
            UPDATE {self.plan} p STRAIGHT_JOIN {self.stage} s ON s.`n` = p.`n` {self._joined_parent()}
            SET p.`action` = 0 WHERE p.`action` = {INSERT} AND pp.`target_id` IS NULL AND pp.`action` = 0"""

    def totals(self) -> str:
        """Items of the tenant, visible ones, and those that have a code."""
        visible = _is_true("t", self._visible)
        code = f"t.`{self.bound.keys[0].stored_name}`"
        return f"SELECT COUNT(*), COALESCE(SUM({visible}), 0), COUNT({code}) FROM {self._target} t"

    def plan_counts(self) -> str:
        """Rows without a stored one, insertions and updates."""
        return f"""
            SELECT COALESCE(SUM(`target_id` IS NULL), 0), COALESCE(SUM(`action` = {INSERT}), 0),
                   COALESCE(SUM(`action` = {UPDATE}), 0) FROM {self.plan}"""

    def update_counts(self) -> str:
        """Of the updates: hides, renames, dropped images, changed categories, shows."""
        category = self.bound.column("category")
        name = cast("BoundColumn", self.bound.column("original_name"))
        image = cast("BoundColumn", self.bound.column("external_image_url"))
        conditions = [
            f"{_is_true('t', self._visible)} AND NOT s.`is_active`",
            self._differ(name, "t"),
            f"{_length(_value('t', image))} > 0 AND {_length(self._new(image, 't'))} = 0",
            self._differ(category, "t") if category else "FALSE",
            self._shows(),
        ]
        sums = ", ".join(f"COALESCE(SUM({condition}), 0)" for condition in conditions)
        return f"""
            SELECT {sums} FROM {self.plan} p STRAIGHT_JOIN {self.stage} s ON s.`n` = p.`n`
            STRAIGHT_JOIN {self._target} t ON {self._id} = p.`target_id` WHERE p.`action` = {UPDATE}"""

    def count_visible(self) -> str:
        """Visible rows."""
        return f"SELECT COUNT(*) FROM {self._target} t WHERE {_is_true('t', self._visible)}"

    def _shows(self) -> str:
        """A stored row (t) that is hidden becomes visible."""
        return f"NOT {_is_true('t', self._visible)} AND {self._new(self._visible, 't')}"

    def visibility_counts(self) -> str:
        """Of the updates: visible rows that the provider calls inactive, and hidden rows to be shown."""
        return f"""
            SELECT COALESCE(SUM({_is_true("t", self._visible)} AND NOT s.`is_active`), 0),
                   COALESCE(SUM({self._shows()}), 0)
            FROM {self.plan} p JOIN {self.stage} s ON s.`n` = p.`n`
            JOIN {self._target} t ON {self._id} = p.`target_id` WHERE p.`action` = {UPDATE}"""

    def count_hides(self) -> str:
        """Children to hide."""
        return f"SELECT COUNT(*) FROM {self._hides}"

    def index_stage(self) -> str:
        """Make staged rows findable by their key."""
        return f"ALTER TABLE {self.stage} ADD KEY (`{self.bound.keys[0].column.source}`)"

    def stale_codes(self) -> str:
        """Item codes the snapshot does not name; one parameter, the limit."""
        code = f"t.`{self.bound.keys[0].stored_name}`"
        return f"""
            SELECT {code} FROM {self._target} t
            WHERE {code} IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {self.stage} s WHERE {self._matching()})
            ORDER BY {_bytes(code)} LIMIT %s"""

    def refresh_statements(self) -> Iterator[str]:
        """Bring the plan in step with rows that were deleted, renamed or inserted since it was made."""
        yield from self._find(
            f"""
            SELECT p.`n`, NULL FROM {self.plan} p JOIN {self.stage} s ON s.`n` = p.`n`
            LEFT JOIN {self._target} t ON {self._id} = p.`target_id` AND {self._own_keys_same()}
            WHERE p.`action` = {UPDATE} AND {self._id} IS NULL""",
            INSERT,
        )
        yield from self.adopt_existing()

    def _find(self, rows: str, action: int) -> Iterator[str]:
        """Give the planned rows of a select their `target_id`, its second column, and an action.

        In two steps: an UPDATE that joins the target locks its rows, and waits for those of a merchant; an INSERT that
        selects does neither at READ COMMITTED.
        """
        yield f"DELETE FROM {self._found}"
        yield f"INSERT INTO {self._found} {rows}"
        yield f"""
            UPDATE {self.plan} p JOIN {self._found} f ON f.`n` = p.`n`
            SET p.`target_id` = f.`target_id`, p.`action` = {action}"""

    def adopt_existing(self) -> Iterator[str]:
        """Plan insertions whose row exists by now as updates."""
        return self._find(
            f"""
            SELECT p.`n`, {self._id} FROM {self.plan} p STRAIGHT_JOIN {self.stage} s ON s.`n` = p.`n`
            {self._joined_parent()} STRAIGHT_JOIN {self._target} t ON {self._matching()}
            WHERE p.`action` = {INSERT} AND p.`target_id` IS NULL""",
            UPDATE,
        )

    def note_inserted_parents(self) -> str:
        """Give inserted rows that are the parents of others their target; reads and locks no other row of the table."""
        return f"""
            UPDATE {self.plan} p STRAIGHT_JOIN {self.stage} s ON s.`n` = p.`n` {self._joined_parent()}
            STRAIGHT_JOIN {self._target} t ON {self._found_by_key()}
            SET p.`target_id` = {self._id} WHERE p.`action` = {INSERT} AND p.`is_parent`"""

    def count_insertions(self) -> str:
        """Rows to insert."""
        return f"SELECT COUNT(*) FROM {self.plan} WHERE `action` = {INSERT}"

    def insertion_range(self) -> str:
        """How many rows are to be inserted, the first number and the last."""
        return (
            f"SELECT COUNT(*), COALESCE(MIN(`n`), 0), COALESCE(MAX(`n`), 0) FROM {self.plan} WHERE `action` = {INSERT}"
        )

    def insertions(self) -> str:
        """The numbers of the rows to insert, in order."""
        return f"SELECT `n` FROM {self.plan} WHERE `action` = {INSERT} ORDER BY `n`"

    def holds_rows(self) -> str:
        """Whether the tenant's table holds any committed row."""
        return f"SELECT EXISTS (SELECT 1 FROM {self._target})"

    def lock_any(self, locking: str) -> str:
        """Lock one row of the tenant's table; nobody has inserted any where this finds none."""
        return f"SELECT {self._id} FROM {self._target} t LIMIT 1 FOR SHARE OF t {locking}"

    def lock_keys_to_insert(self, locking: str) -> str:
        """Lock what already bears the key of a new row: MySQL's INSERT would wait for another transaction's."""
        return f"""
            SELECT {self._id} FROM {self.plan} p STRAIGHT_JOIN {self.stage} s ON s.`n` = p.`n` {self._joined_parent()}
            STRAIGHT_JOIN {self._target} t ON {self._found_by_key()} WHERE p.`action` = {INSERT}
            FOR UPDATE OF t {locking}"""

    def has_stored_parents(self) -> str:
        """Whether any parent in the plan was not inserted by this sync."""
        return f"SELECT EXISTS (SELECT 1 FROM {self._parent_plan} WHERE `is_parent` AND `action` <> {INSERT})"

    def lock_parents(self, locking: str) -> str:
        """Lock the stored parents of new rows against changes: the INSERT's foreign key check would wait for them."""
        assert self._parent is not None
        parent_id = _stored("u", self._parent, "id")
        return f"""
            SELECT {parent_id} FROM (
                SELECT DISTINCT pp.`target_id` FROM {self.plan} p STRAIGHT_JOIN {self.stage} s ON s.`n` = p.`n`
                {self._joined_parent()} WHERE p.`action` = {INSERT} AND pp.`action` <> {INSERT}) AS `needed`
            STRAIGHT_JOIN `{self._parent.stored_name}` u ON {parent_id} = `needed`.`target_id`
            FOR SHARE OF u {locking}"""

    def forget_orphans(self) -> Iterator[str]:
        """Take new rows out of the plan whose parent is gone."""
        assert self._parent is not None
        parent_id = _stored("u", self._parent, "id")
        return self._find(
            f"""
            SELECT p.`n`, NULL FROM {self.plan} p STRAIGHT_JOIN {self.stage} s ON s.`n` = p.`n` {self._joined_parent()}
            LEFT JOIN `{self._parent.stored_name}` u ON {parent_id} = pp.`target_id`
            WHERE p.`action` = {INSERT} AND pp.`action` <> {INSERT} AND {parent_id} IS NULL""",
            action=0,
        )

    def insert(self, omitted: Collection[str]) -> str:
        """Insert new rows; parameters are the first and the last number.

        The database fills the `omitted` sources' columns. A key that appeared meanwhile is an error, never overwritten:
        neither IGNORE (which also cuts texts and bends wrong values) nor ON DUPLICATE KEY UPDATE (which would write the
        merchant's row without looking at its name).
        """
        columns = [column for column in (*self.bound.keys, *self.written) if column.column.source not in omitted]
        names, values = [column.stored_name for column in columns], [_typed(column) for column in columns]
        source = f"{self.plan} p FORCE INDEX (PRIMARY) STRAIGHT_JOIN {self.stage} s ON s.`n` = p.`n`"
        if self._parent is not None:
            parent_column = self.bound.table.parent_column
            assert parent_column is not None
            names.append(self.bound.stored_names[parent_column.name])
            values.append("pp.`target_id`")
            source += f" {self._joined_parent()}"
        pattern = "".join(
            f" AND s.`{source_name}` IS {'' if source_name in omitted else 'NOT '}NULL"
            for source_name in sorted({column.column.source for column in self.bound.defaulted})
        )
        return f"""
            INSERT INTO {self._target} ({", ".join(f"`{name}`" for name in names)})
            SELECT {", ".join(values)} FROM {source}
            WHERE p.`action` = {INSERT} AND p.`n` BETWEEN %s AND %s{pattern} ORDER BY p.`n`"""

    def count_updates(self) -> str:
        """Rows to update."""
        return f"SELECT COUNT(*) FROM {self.plan} WHERE `action` = {UPDATE}"

    def keep_before(self, locking: str = "") -> str:
        """Keep the values of the rows to update; with a `locking` clause as they really are now.

        A locking read sees the newest committed version. `STRAIGHT_JOIN` from the plan's primary key locks in key
        order; an ORDER BY alone would sort after locking.
        """
        return f"""
            INSERT INTO {self._before}
            SELECT STRAIGHT_JOIN p.`n`, {self._id}, {self._columns}
            FROM {self.plan} p FORCE INDEX (PRIMARY) JOIN {self.stage} s ON s.`n` = p.`n`
            JOIN {self._target} t ON {self._id} = p.`target_id` AND {self._own_keys_same()}
            WHERE p.`action` = {UPDATE} ORDER BY p.`n` {locking}"""

    def decide_after(self) -> str:
        """The new values of the rows that really change, from their values as kept (and locked) before.

        An UPDATE that joins promises no order of its assignments, and a plain one sees `original_name` changed if that
        comes first; so the name is decided here, where old values are all there is.
        """
        values = ", ".join(self._assigned(column) for column in self.written)
        return f"""
            INSERT INTO {self._after}
            SELECT b.`n`, b.`target_id`, {values}
            FROM {self._before} b JOIN {self.stage} s ON s.`n` = b.`n` WHERE {self._differs_any("b")} ORDER BY b.`n`"""

    def updates(self) -> str:
        """The numbers of the rows to update, in order."""
        return f"SELECT `n` FROM {self._after} ORDER BY `n`"

    def update(self) -> str:
        """Write the decided values to the locked rows; parameters are the first and the last number."""
        assignments = ", ".join(f"t.`{column.stored_name}` = a.`{column.name}`" for column in self.written)
        return f"""
            UPDATE {self._after} a STRAIGHT_JOIN {self._target} t ON {self._id} = a.`target_id` SET {assignments}
            WHERE a.`n` BETWEEN %s AND %s"""

    def forget_update(self) -> str:
        """Take a refused row out of what is updated; one parameter, its number."""
        return f"DELETE FROM {self._after} WHERE `n` = %s"

    def keep_hidden(self, locking: str = "") -> str:
        """Keep which children will be hidden: those that still are visible, locked in key order."""
        return f"""
            INSERT INTO {self._hidden}
            SELECT STRAIGHT_JOIN h.`n`, {self._id}
            FROM {self._hides} h FORCE INDEX (PRIMARY) JOIN {self._target} t ON {self._id} = h.`target_id`
            WHERE {_is_true("t", self._visible)} ORDER BY h.`n` {locking}"""

    def hidings(self) -> str:
        """The numbers of the children to hide, in order."""
        return f"SELECT `n` FROM {self._hidden} ORDER BY `n`"

    def hide(self) -> str:
        """Hide the children that are kept and locked for it; parameters are the first and the last number."""
        return f"""
            UPDATE {self._hidden} x STRAIGHT_JOIN {self._target} t ON {self._id} = x.`target_id`
            SET {_value("t", self._visible)} = 0 WHERE x.`n` BETWEEN %s AND %s"""

    def forget_hiding(self) -> str:
        """Take a refused row out of what is hidden; one parameter, its number."""
        return f"DELETE FROM {self._hidden} WHERE `n` = %s"

    def hide_keys(self) -> str:
        """The parent's number and the own keys of a child to hide; the parameter is its number."""
        keys = ", ".join(f"`{key.column.source}`" for key in self.bound.keys)
        return f"SELECT `parent_n`, {keys} FROM {self._hides} WHERE `n` = %s"

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
        """Number, all old and then all new values of changed rows after a number (the parameter)."""
        values = ", ".join(_shown(column, alias) for alias in "ba" for column in self.written)
        return f"""
            SELECT a.`n`, {values} FROM {self._after} a JOIN {self._before} b ON b.`n` = a.`n`
            WHERE a.`n` > %s ORDER BY a.`n` LIMIT {CHANGES_A_PAGE}"""

    def hidden_page(self) -> str:
        """Number, the parent's number and the own keys of hidden children after a number (the parameter)."""
        keys = ", ".join(f"h.`{key.column.source}`" for key in self.bound.keys)
        return f"""
            SELECT x.`n`, h.`parent_n`, {keys} FROM {self._hidden} x JOIN {self._hides} h ON h.`n` = x.`n`
            WHERE x.`n` > %s ORDER BY x.`n` LIMIT {CHANGES_A_PAGE}"""

    def _differs_any(self, alias: str) -> str:
        return " OR ".join(filter(None, (self._differ(column, alias) for column in self.written)))

    def _differ(self, column: BoundColumn, alias: str) -> str:
        """Whether a sync would change this column; empty where another column's difference already says so."""
        stored = _value(alias, column)
        if column.rule is Rule.WHILE_EQUAL:
            return ""
        if column.rule is Rule.WHILE_NULL:
            return f"({stored} IS NULL AND {_typed(column)} IS NOT NULL)"
        new = self._new(column, alias)
        if column.column.kind is Kind.JSON and _is_text(column) and self._mariadb:
            return f"NOT ({_compact(stored)} <=> {_compact(new)})"
        if _is_text(column):
            return f"NOT ({self._exactly(stored, '<=>', new, column)})"
        return f"NOT ({stored} <=> {new})"

    def _new(self, column: BoundColumn, alias: str) -> str:
        """The value of an updated row, as far as the provider decides; `alias` is the stored row as it was.

        Where the staged value does not fit, or is missing and the column takes no NULL, the stored one stays.
        """
        staged, stored = _typed(column), _value(alias, column)
        if column.column.source in self.staged.kept:
            staged = f"IF(s.`keeps_{column.column.source}`, {stored}, {staged})"
        return staged if column.actual.nullable else f"COALESCE({staged}, {stored})"

    def _assigned(self, column: BoundColumn) -> str:
        """The value a changed row gets; reads no row but the kept and the staged one."""
        kept = f"b.`{column.name}`"
        if column.rule is Rule.WHILE_EQUAL:
            companion = f"b.`{column.column.companion}`"
            return f"IF({self._exactly(kept, '<=>', companion, column)}, {self._new(column, 'b')}, {kept})"
        if column.rule is Rule.WHILE_NULL:
            return f"COALESCE({kept}, {_typed(column)})"
        return self._new(column, "b")


def _stored(alias: str, bound: BoundTable, name: str) -> str:
    """A column of a tenant table, by the policy's name."""
    return f"{alias}.`{bound.stored_names[name]}`"


def _value(alias: str, column: BoundColumn) -> str:
    """A column of the target (t) by its own name, of a temporary table by the policy's."""
    return f"{alias}.`{column.stored_name if alias == 't' else column.name}`"


def _is_text(column: BoundColumn) -> bool:
    """Whether values are compared as texts; an enumeration's are, too."""
    return is_text(column.actual.family) or column.actual.family is Family.ENUM


def _bytes(expression: str) -> str:
    return f"CAST({expression} AS BINARY)"


def _compact(expression: str) -> str:
    """JSON in a text column without the spaces that mean nothing; what is not JSON stays as it is."""
    return _bytes(f"COALESCE(JSON_COMPACT({expression}), {expression})")


def _is_true(alias: str, column: BoundColumn) -> str:
    return f"(COALESCE({_value(alias, column)}, 0) <> 0)"


def _length(text: str) -> str:
    return f"COALESCE(LENGTH({text}), 0)"


def _shown(column: BoundColumn, alias: str) -> str:
    value = f"{alias}.`{column.name}`"
    return f"({value} <> 0)" if column.column.kind is Kind.BOOLEAN else value


def _typed(column: BoundColumn) -> str:
    """The staged value in the target's own type. Text is never cast: a cast to char(n) cuts silently."""
    value, kind = f"s.`{column.column.source}`", column.actual.type
    if column.column.kind is Kind.JSON and kind == "json":
        return f"CAST({value} AS JSON)"
    if column.column.kind is Kind.DECIMAL and column.actual.whole:
        return f"CAST({value} AS DECIMAL(65, 0))"
    if column.column.kind is Kind.DECIMAL and kind.startswith("decimal"):
        return f"CAST({value} AS {kind.partition(' ')[0].upper()})"
    if column.column.kind is Kind.DECIMAL and not _is_text(column):
        return f"({value} + 0e0)"
    return value
