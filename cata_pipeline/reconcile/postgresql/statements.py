"""The SQL of a PostgreSQL reconcile, one table at a time, made from the policy's columns.

Nothing is executed here. The name rule reads the target row only: under READ COMMITTED a waiting UPDATE sees the
target's newest committed version, but only a stale one of anything joined. Aliases: s staged, t target, p plan,
b before, a after, h to hide, u0 u1 the target's parents upwards.
"""

from collections.abc import Iterator
from typing import cast

from cata_pipeline.reconcile.contract import BoundColumn, BoundTable, Contract
from cata_pipeline.reconcile.lineage import lineage
from cata_pipeline.reconcile.policy import Kind, Rule

_TEXT_TYPES = ("text", "character varying", "character", "citext")


class TableStatements:
    """The statements for one table of a tenant database; the outcome stays in temporary tables of the session."""

    def __init__(self, bound: BoundTable, contract: Contract) -> None:
        self.name = bound.name
        origin = lineage(bound, contract, '"')
        self._above, self._key_targets = origin.above, origin.key_targets
        self._chain, self._parents = origin.chain, origin.parents
        self._bound = bound
        self._written = bound.written
        self._keys = bound.table.keys
        self.stage, self.plan, self.hides = (f'"cata_{kind}_{self.name}"' for kind in ("stage", "plan", "hide"))
        self._before, self._after, self._inserted, self._hidden = (
            f'"cata_{kind}_{self.name}"' for kind in ("before", "after", "inserted", "hidden")
        )
        self._target = f'"{bound.stored_name}"'
        self._id = _stored("t", bound, "id")

    @property
    def has_parent(self) -> bool:
        """Whether this is a structure table."""
        return self._bound.table.parent is not None

    @property
    def plan_tables(self) -> tuple[str, ...]:
        """The temporary tables that hold the plan."""
        return (self.plan, self.hides)

    def _keys_equal(self, left: str, right: str) -> str:
        return " AND ".join(f'{left}."{key}" = {right}."{key}"' for key in self._keys)

    def _keys_match(self, staged: str) -> str:
        """The staged row names the target row: byte for byte, whatever the column's collation."""
        return " AND ".join(
            f'{target}::text COLLATE "C" = {staged}."{key}"' if key != "occurrence" else f'{target} = {staged}."{key}"'
            for key, target in ((key, self._key_targets[key]) for key in self._keys)
        )

    @property
    def _quoted_keys(self) -> str:
        return ", ".join(f'"{key}"' for key in self._keys)

    def _key_list(self, alias: str) -> str:
        return ", ".join(f'{alias}."{key}"' for key in self._keys)

    @property
    def _columns(self) -> str:
        """The target's columns that a re-sync may write, under the policy's names."""
        return ", ".join(f't."{column.stored_name}" AS "{column.name}"' for column in self._written)

    def _differs(self) -> str:
        return " OR ".join(filter(None, (_differs(column) for column in self._written)))

    def analyze_stage(self) -> str:
        """Statistics of what is joined on; the texts beside the keys would cost more than they help."""
        return f"ANALYZE {self.stage} ({self._quoted_keys})"

    def plan_statements(self) -> Iterator[str]:
        """Temporary tables with the rows to insert or update, the children to hide, and room for the outcome."""
        yield f"""
            CREATE TEMP TABLE {self.plan} AS
            SELECT {self._key_list("s")}, {self._id} AS target_id, false AS settled
            FROM {self.stage} s LEFT JOIN {self._chain} ON {self._keys_match("s")}
            WHERE s."writable" AND ({self._id} IS NULL OR {self._differs()})"""
        yield f"ANALYZE {self.plan}"
        yield f"CREATE TEMP TABLE {self.hides} AS {self._plan_hides()}"
        yield f"""
            CREATE TEMP TABLE {self._before} AS
            SELECT p.target_id, {self._key_list("p")}, {self._columns}
            FROM {self.plan} p, {self._target} t WITH NO DATA"""
        yield f"""
            CREATE TEMP TABLE {self._after} AS
            SELECT {self._id} AS target_id, {self._columns} FROM {self._target} t WITH NO DATA"""
        yield f"CREATE TEMP TABLE {self._inserted} AS SELECT target_id FROM {self._after} WITH NO DATA"
        yield f"CREATE TEMP TABLE {self._hidden} AS SELECT target_id FROM {self._after} WITH NO DATA"

    def _plan_hides(self) -> str:
        parent = self._bound.table.parent
        if parent is None:
            keys = self._key_list("s")
            return f"SELECT {keys}, {self._id} AS target_id FROM {self.stage} s, {self._target} t WHERE false"
        parent_stage = f'"cata_stage_{parent.name}"'
        parents = " AND ".join(f'{self._key_targets[key]}::text COLLATE "C" = sp."{key}"' for key in parent.keys)
        keys = ", ".join(
            f'{target}::text COLLATE "C" AS "{key}"' if key != "occurrence" else f'{target} AS "{key}"'
            for key, target in self._key_targets.items()
        )
        return f"""
            SELECT {keys}, {self._id} AS target_id
            FROM {self._chain}
            JOIN {parent_stage} sp ON {parents}
            JOIN "cata_stage_items" si ON si."item_code" = sp."item_code" AND si."{self._bound.table.listed_by}"
            WHERE {_is_true("t", self._visible)} AND sp."writable" AND si."writable"
              AND NOT EXISTS (SELECT 1 FROM {self.stage} s WHERE {self._keys_match("s")})"""

    @property
    def _code(self) -> str:
        return self._key_targets["item_code"]

    @property
    def _visible(self) -> BoundColumn:
        return cast("BoundColumn", self._bound.column("visible"))

    def totals(self) -> str:
        """Items of the tenant, visible ones, those with a code."""
        return f"""
            SELECT count(*), count(*) FILTER (WHERE {_is_true("t", self._visible)}), count({self._code})
            FROM {self._target} t"""

    def unplanned_strangers(self) -> str:
        """Staged rows that are not writable, and so in no plan, and name no stored row."""
        return f"""
            SELECT count(*) FROM {self.stage} s LEFT JOIN {self._target} t ON {self._keys_match("s")}
            WHERE NOT s."writable" AND {self._id} IS NULL"""

    def plan_counts(self) -> str:
        """Insertions, updates, and of the updates: hides, renames, dropped pictures, changed categories."""
        category = self._bound.column("category")
        name = cast("BoundColumn", self._bound.column("original_name"))
        picture = _stored("t", self._bound, "external_image_url")
        return f"""
            SELECT count(*) FILTER (WHERE {self._id} IS NULL), count({self._id}),
                   count({self._id}) FILTER (WHERE {_is_true("t", self._visible)} AND NOT s."is_active"),
                   count({self._id}) FILTER (WHERE {_differs(name)}),
                   count({self._id}) FILTER (
                       WHERE coalesce({picture}, '') <> '' AND coalesce(s."external_image_url", '') = ''),
                   {f"count({self._id}) FILTER (WHERE {_differs(category)})" if category else "0"}
            FROM {self.plan} p JOIN {self.stage} s ON {self._keys_equal("p", "s")}
            LEFT JOIN {self._target} t ON {self._id} = p.target_id"""

    def child_totals(self) -> str:
        """Visible children, and those that would be hidden: not listed any more, or inactive."""
        return f"""
            SELECT (SELECT count(*) FROM {self._target} t WHERE {_is_true("t", self._visible)}),
                   (SELECT count(*) FROM {self.hides}) + (
                       SELECT count(*) FROM {self.plan} p JOIN {self.stage} s ON {self._keys_equal("p", "s")}
                       JOIN {self._target} t ON {self._id} = p.target_id
                       WHERE {_is_true("t", self._visible)} AND NOT s."is_active")"""

    def stale_codes(self) -> str:
        """Item codes the snapshot does not name; one parameter, the limit."""
        return f"""
            SELECT {self._code}::text FROM {self._target} t
            WHERE {self._code} IS NOT NULL
              AND NOT EXISTS (SELECT 1 FROM {self.stage} s WHERE {self._keys_match("s")})
            ORDER BY {self._code}::text COLLATE "C" LIMIT %s"""

    def lock(self, *, patient: bool) -> str:
        """Lock the planned rows that exist, in key order, and keep their values as they really are now.

        NO KEY: no key is written, and a merchant's insert that refers to the row must not be in the way.
        """
        own_keys = " AND ".join(
            f'{target}::text COLLATE "C" = p."{key}"::text'
            for key, target in self._key_targets.items()
            if target.startswith("t.")
        )
        return f"""
            INSERT INTO {self._before}
            SELECT p.target_id, {self._key_list("p")}, {self._columns}
            FROM {self.plan} p JOIN {self._target} t ON {self._id} = p.target_id AND {own_keys}
            WHERE NOT EXISTS (SELECT 1 FROM {self._before} b WHERE b.target_id = p.target_id)
            ORDER BY {self._key_list("p")}
            FOR NO KEY UPDATE OF t {_waiting(patient)}"""

    def forget_vanished(self) -> str:
        """A planned row that was deleted meanwhile becomes an insertion."""
        return f"""
            UPDATE {self.plan} p SET target_id = NULL
            WHERE target_id IS NOT NULL AND NOT EXISTS (
                SELECT 1 FROM {self._before} b WHERE b.target_id = p.target_id)"""

    def count_insertions(self) -> str:
        """How many rows the next `insert` should insert."""
        return f"SELECT count(*) FROM {self.plan} p WHERE {self._to_insert()}"

    def _to_insert(self) -> str:
        return "p.target_id IS NULL AND NOT p.settled"

    def insert(self) -> str:
        """Insert the planned rows that do not exist; one that appeared meanwhile is left out, not overwritten."""
        names = [column.stored_name for column in (*self._bound.keys, *self._written)]
        values = [_new(column) for column in (*self._bound.keys, *self._written)]
        source = f"{self.plan} p JOIN {self.stage} s ON {self._keys_equal('p', 's')}"
        key_names = [column.stored_name for column in self._bound.keys]
        parent_column = self._bound.table.parent_column
        if parent_column:
            key_names.append(self._bound.stored_names[parent_column.name])
            names.append(key_names[-1])
            values.append(_stored("u0", self._above[0], "id"))
            source += f" JOIN {self._parents} ON {self._parents_match('s')}"
        columns = ", ".join(f'"{name}"' for name in names)
        conflict = ", ".join(f'"{name}"' for name in key_names)
        return f"""
            WITH inserted AS (
                INSERT INTO {self._target} ({columns})
                SELECT {", ".join(values)} FROM {source}
                WHERE {self._to_insert()}
                ORDER BY {self._key_list("p")}
                ON CONFLICT ({conflict}) DO NOTHING
                RETURNING "{self._bound.stored_names["id"]}")
            INSERT INTO {self._inserted} SELECT * FROM inserted"""

    def _parents_match(self, staged: str) -> str:
        above = self._bound.table.parent.keys if self._bound.table.parent else ()
        return " AND ".join(f'{self._key_targets[key]}::text COLLATE "C" = {staged}."{key}"' for key in above)

    def adopt_existing(self) -> str:
        """Give planned insertions that exist by now (but are not ours) their target, so that they are updated."""
        return f"""
            UPDATE {self.plan} p SET target_id = {self._id}
            FROM {self._chain}
            WHERE {self._keys_match("p")} AND p.target_id IS NULL
              AND NOT EXISTS (SELECT 1 FROM {self._inserted} i WHERE i.target_id = {self._id})"""

    def settle_inserted(self) -> str:
        """Mark the insertions that succeeded, so that another round does not repeat them."""
        return f"""
            UPDATE {self.plan} p SET settled = true
            FROM {self._chain} JOIN {self._inserted} i ON i.target_id = {self._id}
            WHERE {self._keys_match("p")} AND p.target_id IS NULL"""

    def forget_orphans(self) -> str:
        """Leave out planned insertions whose parent is gone."""
        return f"""
            DELETE FROM {self.plan} p
            WHERE {self._to_insert()} AND NOT EXISTS (
                SELECT 1 FROM {self._parents} WHERE {self._parents_match("p")})"""

    def refused_insertions(self) -> str:
        """Item codes of a few planned rows that are neither inserted nor there."""
        return f'SELECT p."item_code" FROM {self.plan} p WHERE {self._to_insert()} ORDER BY 1 LIMIT 5'

    def update(self) -> str:
        """Write the changed columns of the locked rows."""
        assignments = ", ".join(f'"{column.stored_name}" = {self._assigned(column)}' for column in self._written)
        return f"""
            WITH changed AS (
                UPDATE {self._target} t SET {assignments}
                FROM {self._before} b JOIN {self.stage} s ON {self._keys_equal("b", "s")}
                WHERE {self._id} = b.target_id AND ({self._differs()})
                RETURNING {self._id}, {self._columns})
            INSERT INTO {self._after} SELECT * FROM changed"""

    def hide_statements(self, *, patient: bool) -> Iterator[str]:
        """Lock, then hide, the children that their present parent no longer lists."""
        if self._bound.table.parent is None:
            return
        yield f"""
            SELECT 1 FROM {self._target} t JOIN {self.hides} h ON h.target_id = {self._id}
            ORDER BY {self._key_list("h")} FOR NO KEY UPDATE OF t {_waiting(patient)}"""
        false = "false" if self._visible.actual.type == "boolean" else "0"
        yield f"""
            WITH hidden AS (
                UPDATE {self._target} t SET "{self._visible.stored_name}" = {false} FROM {self.hides} h
                WHERE {self._id} = h.target_id AND {_is_true("t", self._visible)}
                RETURNING {self._id})
            INSERT INTO {self._hidden} SELECT * FROM hidden"""

    def _assigned(self, column: BoundColumn) -> str:
        """The value a changed row gets; reads no row but the target's own and the staged one."""
        target = f't."{column.stored_name}"'
        if column.rule is Rule.WHILE_EQUAL:
            companion = _stored("t", self._bound, column.column.companion)
            return (
                f'CASE WHEN {target}::text COLLATE "C" IS NOT DISTINCT FROM {companion}::text'
                f" THEN {_new(column)} ELSE {target} END"
            )
        if column.rule is Rule.WHILE_NULL:
            return f"coalesce({target}, {_new(column)})"
        return _new(column)

    def rehearse_statements(self) -> Iterator[str]:
        """Fill the outcome tables as `apply` would, without touching the target."""
        yield f"""
            INSERT INTO {self._before}
            SELECT p.target_id, {self._key_list("p")}, {self._columns}
            FROM {self.plan} p JOIN {self._target} t ON {self._id} = p.target_id"""
        yield f"""
            INSERT INTO {self._after}
            SELECT {self._id}, {", ".join(self._assigned(column) for column in self._written)}
            FROM {self.plan} p JOIN {self._target} t ON {self._id} = p.target_id
            JOIN {self.stage} s ON {self._keys_equal("p", "s")}"""
        yield f"INSERT INTO {self._hidden} SELECT target_id FROM {self.hides}"

    def item_counts(self) -> str:
        """The fields of `ItemCounts`, in their order."""
        before, after = _is_true("b", self._visible), _is_true("a", self._visible)
        renamed = 'b."original_name"::text COLLATE "C" IS DISTINCT FROM a."original_name"::text'
        same_name = 'b."name"::text COLLATE "C" IS NOT DISTINCT FROM a."name"::text'
        return f"""
            SELECT (SELECT count(*) FROM {self.plan} WHERE target_id IS NULL), count(*),
                   count(*) FILTER (WHERE {renamed} AND NOT ({same_name})),
                   count(*) FILTER (WHERE {renamed} AND {same_name}),
                   count(*) FILTER (WHERE {before} AND NOT {after}),
                   count(*) FILTER (WHERE {after} AND NOT {before}),
                   count(*) FILTER (
                       WHERE b."external_image_url"::text COLLATE "C" IS DISTINCT FROM a."external_image_url"::text)
            FROM {self._before} b JOIN {self._after} a USING (target_id)"""

    def child_counts(self) -> str:
        """Inserted, updated and hidden children."""
        return f"""
            SELECT (SELECT count(*) FROM {self.plan} WHERE target_id IS NULL),
                   (SELECT count(*) FROM {self._after}), (SELECT count(*) FROM {self._hidden})"""

    def change_statements(self) -> Iterator[str]:
        """Selects with the columns of `Change`: updates column by column, hidden children, insertions."""
        own = [key for key in self._keys if key != "item_code"]

        def key(alias: str) -> str:
            path = ", ".join(f'{alias}."{name}"' for name in own)
            return f"jsonb_build_array({path})::text" if own else "NULL::text"

        columns = " UNION ALL ".join(
            f"""
            SELECT '{self.name}', 'updated', b."item_code", {key("b")}, '{column.name}',
                   b."{column.name}"::text, a."{column.name}"::text
            FROM {self._before} b JOIN {self._after} a USING (target_id)
            WHERE b."{column.name}"::text COLLATE "C" IS DISTINCT FROM a."{column.name}"::text"""
            for column in self._written
        )
        yield f"{columns} ORDER BY 3, 4, 5"
        if self._bound.table.parent:
            yield f"""
                SELECT '{self.name}', 'hidden', h."item_code", {key("h")}, 'visible', 'true', 'false'
                FROM {self.hides} h JOIN {self._hidden} USING (target_id) ORDER BY 3, 4"""
        row = ", ".join(f"'{c.name}', {_new(c)}" for c in self._written)
        yield f"""
            SELECT '{self.name}', 'inserted', p."item_code", {key("p")}, NULL, NULL, jsonb_build_object({row})::text
            FROM {self.plan} p JOIN {self.stage} s ON {self._keys_equal("p", "s")}
            WHERE p.target_id IS NULL ORDER BY 3, 4"""


def _stored(alias: str, bound: BoundTable, name: str) -> str:
    """A column of a tenant table, by the policy's name."""
    return f'{alias}."{bound.stored_names[name]}"'


def _is_text(column: BoundColumn) -> bool:
    return column.actual.type.startswith(_TEXT_TYPES)


def _is_true(alias: str, column: BoundColumn) -> str:
    value = f'{alias}."{column.stored_name if alias == "t" else column.name}"'
    return f"coalesce({value}, false)" if column.actual.type == "boolean" else f"(coalesce({value}, 0) <> 0)"


def _new(column: BoundColumn) -> str:
    """The staged value in the target's own type. Text is never cast: a cast to varchar(n) cuts silently."""
    value = f's."{column.column.source}"'
    if column.column.kind is Kind.BOOLEAN and column.actual.type != "boolean":
        value = f"{value}::integer::{column.actual.type}"
    elif column.actual.whole and column.column.kind is Kind.DECIMAL:
        value = f"{value}::numeric::{column.actual.type}"
    elif not _is_text(column) and column.actual.type != "boolean":
        value = f"{value}::{column.actual.type}"
    stands_in = column.actual.default if not column.actual.nullable else None
    return f"coalesce({value}, {stands_in})" if stands_in else value


def _differs(column: BoundColumn) -> str:
    """Whether a sync would change this column; empty where another column's difference already says so."""
    target = f't."{column.stored_name}"'
    if column.rule is Rule.WHILE_EQUAL:
        return ""
    if column.rule is Rule.WHILE_NULL:
        return f"({target} IS NULL AND {_new(column)} IS NOT NULL)"
    if _is_text(column):
        return f'({target}::text COLLATE "C" IS DISTINCT FROM {_new(column)})'
    if column.column.kind is Kind.JSON:
        return f"({target}::jsonb IS DISTINCT FROM {_new(column)}::jsonb)"
    return f"({target} IS DISTINCT FROM {_new(column)})"


def _waiting(patient: bool) -> str:  # noqa: FBT001 says how a lock is asked for
    return "" if patient else "NOWAIT"
