"""The SQL of a PostgreSQL reconcile, one table at a time, made from the policy's columns.

Nothing is executed here. The name rule reads the target row only: under READ COMMITTED a waiting UPDATE sees the
target's newest committed version, but only a stale one of anything joined. Staged rows are numbered (`n`), and a child
names its parent's row by number (`parent_n`). Aliases: s staged, t target, p plan, u the target's parent, pp the
parent's plan, b before, a after, h to hide.
"""

from collections.abc import Collection, Iterator
from typing import cast

from cata_pipeline.reconcile.column_types import is_text
from cata_pipeline.reconcile.contract import BoundColumn, BoundTable, Contract
from cata_pipeline.reconcile.policy import ITEMS, Kind, Rule
from cata_pipeline.reconcile.stage import StagedTable

UPDATE, INSERT = 1, 2
"""What the plan does with a staged row; 0 is nothing."""


class TableStatements:
    """The statements for one table of a tenant database; the outcome stays in temporary tables of the transaction."""

    def __init__(self, bound: BoundTable, contract: Contract, staged: StagedTable) -> None:
        self.name = bound.name
        self.bound = bound
        self.staged = staged
        self._written = bound.written
        self._parent = next((table for table in contract.tables if table.table is bound.table.parent), None)
        self.has_children = any(table.table.parent is bound.table for table in contract.tables)
        self.stage, self.plan, self.hides, self._before, self._after, self._hidden = (
            f'"cata_{kind}_{self.name}"' for kind in ("stage", "plan", "hide", "before", "after", "hidden")
        )
        self._target = f'"{bound.stored_name}"'
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
        needed += ["is_parent", *self._listings] if self.has_children else []
        needed += [column.column.source for column in (*self.bound.keys, *self._written)]
        return [name for name in self.staged.rows.column_names if name in needed]

    @property
    def _listings(self) -> list[str]:
        return ["lists_modifiers", "lists_components"] if self.bound.table is ITEMS else []

    @property
    def _parent_plan(self) -> str:
        assert self._parent is not None
        return f'"cata_plan_{self._parent.name}"'

    @property
    def _parent_column(self) -> str:
        column = self.bound.table.parent_column
        assert column is not None
        return _stored("t", self.bound, column.name)

    def _own_keys_match(self) -> str:
        """The staged row has the target row's own keys: byte for byte, whatever the column's collation."""
        return " AND ".join(
            f't."{key.stored_name}"::text COLLATE "C" = s."{key.column.source}"'
            if key.column.kind is Kind.TEXT
            else f't."{key.stored_name}" = s."{key.column.source}"'
            for key in self.bound.keys
        )

    def _matching(self) -> tuple[str, str]:
        """How staged rows (s) find their target (t): the join of the parent's plan, and the condition."""
        if self._parent is None:
            return "", self._own_keys_match()
        join = f'JOIN {self._parent_plan} pp ON pp.n = s."parent_n"'
        return join, f"{self._parent_column} = pp.target_id AND {self._own_keys_match()}"

    @property
    def _columns(self) -> str:
        """The target's columns that a re-sync may write, under the policy's names."""
        return ", ".join(f't."{column.stored_name}" AS "{column.name}"' for column in self._written)

    def _differs_any(self) -> str:
        return " OR ".join(filter(None, (self._differs(column) for column in self._written)))

    def analyze_stage(self) -> str:
        """Statistics of what is joined on; the texts beside the keys would cost more than they help."""
        keys = ", ".join(f'"{key.column.source}"' for key in self.bound.keys)
        return f"ANALYZE {self.stage} (n, {keys}{', parent_n' if self._parent else ''})"

    def plan_statements(self) -> Iterator[str]:
        """Temporary tables with what is to be done, the children to hide, and room for the outcome.

        The plan holds rows to write and rows that name no stored one; those of parents and children all rows, because
        children find their parents in it, and those that are not listed any more are what it lacks.
        """
        join, on = self._matching()
        whole = self.has_children or self.has_parent
        chosen = "" if whole else f"WHERE {self._id} IS NULL OR (s.writable AND ({self._differs_any()}))"
        yield f"""
            CREATE TEMP TABLE {self.plan} ON COMMIT DROP AS
            SELECT s.n, {self._id} AS target_id,
                   CASE WHEN NOT s.writable THEN 0 WHEN {self._id} IS NULL THEN {INSERT}
                        WHEN {self._differs_any()} THEN {UPDATE} ELSE 0 END::smallint AS action
            FROM {self.stage} s {join} LEFT JOIN {self._target} t ON {on} {chosen}"""
        yield f"ANALYZE {self.plan}"
        yield f"CREATE TEMP TABLE {self.hides} ON COMMIT DROP AS {self._plan_hides()}"
        yield f"""
            CREATE TEMP TABLE {self._before} ON COMMIT DROP AS
            SELECT p.n, p.target_id, {self._columns} FROM {self.plan} p, {self._target} t WITH NO DATA"""
        yield f"CREATE TEMP TABLE {self._after} (LIKE {self._before}) ON COMMIT DROP"
        yield f"CREATE TEMP TABLE {self._hidden} ON COMMIT DROP AS SELECT n, target_id FROM {self.hides} WITH NO DATA"

    def _plan_hides(self) -> str:
        """Visible children that their present parent, which lists such children, no longer names."""
        keys = ", ".join(f't."{key.stored_name}" AS "{key.column.source}"' for key in self.bound.keys)
        numbered = f"row_number() OVER ()::integer AS n, {self._id} AS target_id, {keys}"
        if self._parent is None:
            return f"SELECT {numbered} FROM {self._target} t WHERE false"
        listed = f'AND sp."{self.bound.table.listed_by}"' if self._parent.table is ITEMS else ""
        return f"""
            SELECT {numbered}, pp.n AS parent_n
            FROM {self._parent_plan} pp JOIN "cata_stage_{self._parent.name}" sp ON sp.n = pp.n
            JOIN {self._target} t ON {self._parent_column} = pp.target_id
            WHERE {_is_true("t", self._visible)} AND sp.writable {listed}
              AND NOT EXISTS (SELECT 1 FROM {self.plan} p WHERE p.target_id = {self._id})"""

    @property
    def _visible(self) -> BoundColumn:
        return cast("BoundColumn", self.bound.column("visible"))

    @property
    def _code(self) -> str:
        return f't."{self.bound.keys[0].stored_name}"'

    def totals(self) -> str:
        """Items of the tenant, visible ones, those with a code."""
        return f"""
            SELECT count(*), count(*) FILTER (WHERE {_is_true("t", self._visible)}), count({self._code})
            FROM {self._target} t"""

    def plan_counts(self) -> str:
        """Rows without a stored one, insertions and updates."""
        return f"""
            SELECT count(*) FILTER (WHERE target_id IS NULL), count(*) FILTER (WHERE action = {INSERT}),
                   count(*) FILTER (WHERE action = {UPDATE}) FROM {self.plan}"""

    def update_counts(self) -> str:
        """Of the updates: hides, renames, dropped images, changed categories, shows."""
        category = self.bound.column("category")
        name = cast("BoundColumn", self.bound.column("original_name"))
        image = _stored("t", self.bound, "external_image_url")
        unpictured = (
            f"""coalesce({image}, '') <> '' AND coalesce({self._new("external_image_url")}, '') COLLATE "C" = ''"""
        )
        return f"""
            SELECT count(*) FILTER (WHERE {_is_true("t", self._visible)} AND NOT s."is_active"),
                   count(*) FILTER (WHERE {self._differs(name)}), count(*) FILTER (WHERE {unpictured}),
                   {f"count(*) FILTER (WHERE {self._differs(category)})" if category else "0"},
                   count(*) FILTER (WHERE {self._shows()})
            FROM {self.plan} p JOIN {self.stage} s ON s.n = p.n JOIN {self._target} t ON {self._id} = p.target_id
            WHERE p.action = {UPDATE}"""

    def _shows(self) -> str:
        """A stored row (t) that is hidden becomes visible."""
        return f"NOT {_is_true('t', self._visible)} AND {self._value(self._visible)}"

    def child_counts_before(self) -> str:
        """Visible children, those that would be hidden (not listed any more, or inactive), and those to be shown."""
        return f"""
            SELECT (SELECT count(*) FROM {self._target} t WHERE {_is_true("t", self._visible)}),
                   (SELECT count(*) FROM {self.hides})
                       + count(*) FILTER (WHERE {_is_true("t", self._visible)} AND NOT s."is_active"),
                   count(*) FILTER (WHERE {self._shows()})
            FROM {self.plan} p JOIN {self.stage} s ON s.n = p.n JOIN {self._target} t ON {self._id} = p.target_id
            WHERE p.action = {UPDATE}"""

    def stale_codes(self) -> str:
        """Item codes the snapshot does not name; one parameter, the limit."""
        return f"""
            SELECT {self._code}::text FROM {self._target} t
            WHERE {self._code} IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {self.stage} s WHERE {self._own_keys_match()})
            ORDER BY {self._code}::text COLLATE "C" LIMIT %s"""

    @property
    def has_folding_key(self) -> bool:
        """Whether the unique key may take different codes for equal: citext, or a collation that folds."""
        return any(key.actual.equality for key in self.bound.keys)

    def _folded(self, alias: str) -> list[str]:
        """The own keys as the unique key compares them."""
        names = [key.stored_name if alias == "t" else key.column.source for key in self.bound.keys]
        return [
            (key.actual.equality or "{}").format(f'{alias}."{name}"')
            for key, name in zip(self.bound.keys, names, strict=True)
        ]

    def _taken(self) -> str:
        """The joins and conditions of new rows (s) whose key a stored row (t) of another spelling holds."""
        join = f'JOIN {self._parent_plan} pp ON pp.n = s."parent_n"' if self._parent else ""
        parent = [f"{self._parent_column} = pp.target_id"] if self._parent else []
        equal = [f"{stored} = {staged}" for stored, staged in zip(self._folded("t"), self._folded("s"), strict=True)]
        return f"""
            {self.plan} p JOIN {self.stage} s ON s.n = p.n {join}
            JOIN {self._target} t ON {" AND ".join([*parent, *equal])} WHERE p.action = {INSERT}"""

    def taken(self) -> str:
        """New rows whose key a stored row of another spelling holds: number, own key, theirs."""
        own = self.bound.keys[0]
        return f"""
            SELECT s.n, s."{own.column.source}", t."{own.stored_name}"::text FROM {self._taken()} ORDER BY s.n"""

    def keep_respelled(self) -> str:
        """Hide no child whose code is only respelled: it cannot be stored beside its old self."""
        return f"DELETE FROM {self.hides} WHERE target_id IN (SELECT {self._id} FROM {self._taken()})"

    def rivals(self) -> str:
        """Of new rows whose keys the unique key takes for equal, all but the first: as `taken`."""
        equals = ", ".join([*(['s."parent_n"'] if self._parent else []), *self._folded("s")])
        shown = f's."{self.bound.keys[0].column.source}"'
        return f"""
            SELECT n, own, first FROM (
                SELECT s.n, {shown} AS own, row_number() OVER same AS place, first_value({shown}) OVER same AS first
                FROM {self.plan} p JOIN {self.stage} s ON s.n = p.n
                WHERE p.action = {INSERT} WINDOW same AS (PARTITION BY {equals} ORDER BY s.n)) AS ranked
            WHERE place > 1 ORDER BY n"""

    def refuse(self) -> str:
        """Take rows out of the plan; one parameter, their numbers."""
        return f"UPDATE {self.plan} SET action = 0 WHERE n = ANY (%s)"

    def refuse_children(self) -> str:
        """Take new rows out of the plan whose parent is neither there nor planned."""
        return f"""
            UPDATE {self.plan} p SET action = 0 FROM {self.stage} s JOIN {self._parent_plan} pp ON pp.n = s."parent_n"
            WHERE s.n = p.n AND p.action = {INSERT} AND pp.target_id IS NULL AND pp.action = 0"""

    def refresh_statements(self) -> Iterator[str]:
        """Bring the plan in step with rows that were deleted, renamed or inserted since it was made."""
        yield f"""
            UPDATE {self.plan} p SET target_id = NULL, action = {INSERT} FROM {self.stage} s
            WHERE s.n = p.n AND p.action = {UPDATE} AND NOT EXISTS (
                SELECT 1 FROM {self._target} t WHERE {self._id} = p.target_id AND {self._own_keys_match()})"""
        yield self._set_targets(f"action = {UPDATE}")

    def _set_targets(self, action: str, where: str = "true") -> str:
        join, on = self._matching()
        return f"""
            UPDATE {self.plan} p SET target_id = {self._id}, {action} FROM {self.stage} s {join}, {self._target} t
            WHERE s.n = p.n AND {on} AND p.action = {INSERT} AND p.target_id IS NULL AND {where}"""

    def adopt_existing(self) -> str:
        """Plan insertions whose row exists by now as updates."""
        return self._set_targets(f"action = {UPDATE}")

    def note_inserted_parents(self) -> str:
        """Give inserted rows that are the parents of others their target."""
        return self._set_targets(f"action = {INSERT}", "s.is_parent")

    def count_insertions(self) -> str:
        """Rows to insert."""
        return f"SELECT count(*) FROM {self.plan} WHERE action = {INSERT}"

    def insertion_range(self) -> str:
        """How many rows are to be inserted, the first number and the last."""
        return f"SELECT count(*), min(n), max(n) FROM {self.plan} WHERE action = {INSERT}"

    def insertions(self) -> str:
        """The numbers of the rows to insert, in order."""
        return f"SELECT n FROM {self.plan} WHERE action = {INSERT} ORDER BY n"

    def forget_orphans(self) -> str:
        """Take new rows out of the plan whose parent is gone."""
        assert self._parent is not None
        return f"""
            UPDATE {self.plan} p SET action = 0 FROM {self.stage} s JOIN {self._parent_plan} pp ON pp.n = s."parent_n"
            WHERE s.n = p.n AND p.action = {INSERT} AND pp.action <> {INSERT} AND NOT EXISTS (
                SELECT 1 FROM "{self._parent.stored_name}" u WHERE {_stored("u", self._parent, "id")} = pp.target_id)"""

    def insert(self, omitted: Collection[str]) -> str:
        """Insert new rows; parameters are the first and the last number.

        The database fills the `omitted` sources' columns. No ON CONFLICT: a key that appeared meanwhile is an error.
        """
        columns = [column for column in (*self.bound.keys, *self._written) if column.column.source not in omitted]
        names = [column.stored_name for column in columns]
        values = [_typed(column) for column in columns]
        source = f"{self.plan} p JOIN {self.stage} s ON s.n = p.n"
        if self._parent is not None:
            parent_column = self.bound.table.parent_column
            assert parent_column is not None
            names.append(self.bound.stored_names[parent_column.name])
            values.append("pp.target_id")
            source += f' JOIN {self._parent_plan} pp ON pp.n = s."parent_n"'
        pattern = "".join(
            f' AND s."{source_name}" IS {"" if source_name in omitted else "NOT "}NULL'
            for source_name in sorted({column.column.source for column in self.bound.defaulted})
        )
        return f"""
            INSERT INTO {self._target} ({", ".join(f'"{name}"' for name in names)})
            SELECT {", ".join(values)} FROM {source}
            WHERE p.action = {INSERT} AND p.n BETWEEN %s AND %s{pattern} ORDER BY p.n"""

    def missing_insertions(self) -> str:
        """Numbers of rows that were to be inserted and are not there."""
        join, on = self._matching()
        return f"""
            SELECT p.n FROM {self.plan} p JOIN {self.stage} s ON s.n = p.n {join}
            WHERE p.action = {INSERT} AND NOT EXISTS (SELECT 1 FROM {self._target} t WHERE {on}) ORDER BY p.n"""

    def count_updates(self) -> str:
        """Rows to update."""
        return f"SELECT count(*) FROM {self.plan} WHERE action = {UPDATE}"

    def lock(self, *, patient: bool) -> str:
        """Lock the rows to update, in order, and keep their values as they really are now.

        NO KEY: no key is written, and a merchant's insert that refers to the row must not be in the way.
        """
        return f"""
            INSERT INTO {self._before}
            SELECT p.n, {self._id}, {self._columns}
            FROM {self.plan} p JOIN {self.stage} s ON s.n = p.n
            JOIN {self._target} t ON {self._id} = p.target_id AND {self._own_keys_match()}
            WHERE p.action = {UPDATE} ORDER BY p.n FOR NO KEY UPDATE OF t {_waiting(patient)}"""

    def updates(self) -> str:
        """The numbers of the rows to update, in order."""
        return f"SELECT n FROM {self._before} ORDER BY n"

    def update(self) -> str:
        """Write the changed columns of the locked rows; parameters are the first and the last number."""
        assignments = ", ".join(f'"{column.stored_name}" = {self._assigned(column)}' for column in self._written)
        return f"""
            WITH changed AS (
                UPDATE {self._target} t SET {assignments}
                FROM {self._before} b JOIN {self.stage} s ON s.n = b.n
                WHERE {self._id} = b.target_id AND b.n BETWEEN %s AND %s AND ({self._differs_any()})
                RETURNING b.n, {self._id}, {self._columns})
            INSERT INTO {self._after} SELECT * FROM changed"""

    def lock_hides(self, *, patient: bool) -> str:
        """Lock the children to hide, in order."""
        return f"""
            SELECT 1 FROM {self._target} t JOIN {self.hides} h ON h.target_id = {self._id}
            ORDER BY h.n FOR NO KEY UPDATE OF t {_waiting(patient)}"""

    def hidings(self) -> str:
        """The numbers of the children to hide, in order."""
        return f"SELECT n FROM {self.hides} ORDER BY n"

    def hide(self) -> str:
        """Hide children that their present parent no longer lists; parameters are the first and the last number."""
        return f"""
            WITH hidden AS (
                UPDATE {self._target} t SET "{self._visible.stored_name}" = false FROM {self.hides} h
                WHERE {self._id} = h.target_id AND h.n BETWEEN %s AND %s AND {_is_true("t", self._visible)}
                RETURNING h.n, {self._id})
            INSERT INTO {self._hidden} SELECT * FROM hidden"""

    def _new(self, source: str) -> str:
        """The value that a stored row gets from a source: the staged one, or its own where that does not fit."""
        column = next(column for column in self._written if column.column.source == source)
        return self._value(column)

    def _value(self, column: BoundColumn) -> str:
        """The value of an updated row, as far as the provider decides; reads the target's own row and the staged one.

        Where the staged value does not fit, or is missing and the column takes no NULL, the stored one stays.
        """
        staged, stored = _typed(column), f't."{column.stored_name}"'
        if column.column.source in self.staged.kept:
            staged = f'CASE WHEN s."keeps_{column.column.source}" THEN {stored} ELSE {staged} END'
        return staged if column.actual.nullable else f"coalesce({staged}, {stored})"

    def _assigned(self, column: BoundColumn) -> str:
        """The value a changed row gets; reads no row but the target's own and the staged one."""
        target = f't."{column.stored_name}"'
        if column.rule is Rule.WHILE_EQUAL:
            companion = _stored("t", self.bound, column.column.companion)
            return (
                f'CASE WHEN {target}::text COLLATE "C" IS NOT DISTINCT FROM {companion}::text'
                f" THEN {self._value(column)} ELSE {target} END"
            )
        if column.rule is Rule.WHILE_NULL:
            return f"coalesce({target}, {_typed(column)})"
        return self._value(column)

    def _differs(self, column: BoundColumn) -> str:
        """Whether a sync would change this column; empty where another column's difference already says so."""
        target = f't."{column.stored_name}"'
        if column.rule is Rule.WHILE_EQUAL:
            return ""
        if column.rule is Rule.WHILE_NULL:
            return f"({target} IS NULL AND {_typed(column)} IS NOT NULL)"
        value = self._value(column)
        if _is_text(column):
            return f'({target}::text COLLATE "C" IS DISTINCT FROM ({value})::text)'
        if column.column.kind is Kind.JSON:
            return f"({target}::jsonb IS DISTINCT FROM ({value})::jsonb)"
        return f"({target} IS DISTINCT FROM {value})"

    def rehearse_statements(self) -> Iterator[str]:
        """Fill the outcome tables as applying would, without touching the target."""
        yield f"""
            INSERT INTO {self._before} SELECT p.n, {self._id}, {self._columns}
            FROM {self.plan} p JOIN {self._target} t ON {self._id} = p.target_id WHERE p.action = {UPDATE}"""
        yield f"""
            INSERT INTO {self._after}
            SELECT p.n, {self._id}, {", ".join(self._assigned(column) for column in self._written)}
            FROM {self.plan} p JOIN {self._target} t ON {self._id} = p.target_id
            JOIN {self.stage} s ON s.n = p.n WHERE p.action = {UPDATE}"""
        yield f"INSERT INTO {self._hidden} SELECT n, target_id FROM {self.hides}"

    def item_counts(self) -> str:
        """The fields of `ItemCounts`, in their order."""
        before, after = _is_true("b", self._visible), _is_true("a", self._visible)
        renamed = 'b."original_name"::text COLLATE "C" IS DISTINCT FROM a."original_name"::text'
        same_name = 'b."name"::text COLLATE "C" IS NOT DISTINCT FROM a."name"::text'
        return f"""
            SELECT ({self.count_insertions()}), count(*),
                   count(*) FILTER (WHERE {renamed} AND NOT ({same_name})),
                   count(*) FILTER (WHERE {renamed} AND {same_name}),
                   count(*) FILTER (WHERE {before} AND NOT {after}),
                   count(*) FILTER (WHERE {after} AND NOT {before}),
                   count(*) FILTER (
                       WHERE b."external_image_url"::text COLLATE "C" IS DISTINCT FROM a."external_image_url"::text)
            FROM {self._before} b JOIN {self._after} a USING (n)"""

    def child_counts(self) -> str:
        """Inserted, updated and hidden children."""
        return f"""
            SELECT ({self.count_insertions()}), (SELECT count(*) FROM {self._after}),
                   (SELECT count(*) FROM {self._hidden})"""

    def updated_values(self) -> str:
        """Number, column, old and new value of everything that an update changed, in order."""
        columns = " UNION ALL ".join(
            f"""
            SELECT b.n, '{column.name}', b."{column.name}"::text, a."{column.name}"::text
            FROM {self._before} b JOIN {self._after} a USING (n)
            WHERE b."{column.name}"::text COLLATE "C" IS DISTINCT FROM a."{column.name}"::text"""
            for column in self._written
        )
        return f"{columns} ORDER BY 1, 2"

    def hide_keys(self) -> str:
        """The parent's number and the own keys of a child to hide; the parameter is its number."""
        keys = ", ".join(f'"{key.column.source}"' for key in self.bound.keys)
        return f"SELECT parent_n, {keys} FROM {self.hides} WHERE n = %s"

    def hidden_keys(self) -> str:
        """The parent's number and the own keys of hidden children, in order."""
        keys = ", ".join(f'h."{key.column.source}"' for key in self.bound.keys)
        return f"""
            SELECT h.parent_n, {keys} FROM {self.hides} h JOIN {self._hidden} x USING (n) ORDER BY h.parent_n, {keys}"""


def _stored(alias: str, bound: BoundTable, name: str) -> str:
    """A column of a tenant table, by the policy's name."""
    return f'{alias}."{bound.stored_names[name]}"'


def _is_text(column: BoundColumn) -> bool:
    return is_text(column.actual.family)


def _is_true(alias: str, column: BoundColumn) -> str:
    return f'coalesce({alias}."{column.stored_name if alias == "t" else column.name}", false)'


def _typed(column: BoundColumn) -> str:
    """The staged value in the target's own type. Text is never cast: a cast to varchar(n) cuts silently."""
    value = f's."{column.column.source}"'
    if column.actual.whole and column.column.kind is Kind.DECIMAL:
        return f"{value}::numeric::{column.actual.type}"
    if _is_text(column) or column.column.kind is Kind.BOOLEAN:
        return value
    return f"{value}::{column.actual.type}"


def _waiting(patient: bool) -> str:  # noqa: FBT001 says how a lock is asked for
    return "" if patient else "NOWAIT"
