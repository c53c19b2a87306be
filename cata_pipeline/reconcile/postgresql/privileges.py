"""Finds the privileges that our account lacks in a PostgreSQL tenant database, and the GRANT that gives each.

Privileges on columns are read with the columns, in `schema`.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

_Rows = Callable[[str, list[Any]], list[tuple[Any, ...]]]

WHOLE_DATABASE = 0
"""Stands for the oid of a table where a privilege concerns none in particular."""

# A default that takes the next number of a sequence does so as the account that inserts; an identity column does not.
_MISSING = """
SELECT 0::oid, format('our account may not create temporary tables: GRANT TEMPORARY ON DATABASE %%I TO %%I',
                      current_database(), current_user)
WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')
UNION ALL
SELECT d.adrelid,
       format('our account may not use the sequence that fills %%I.%%I: GRANT USAGE ON SEQUENCE %%I.%%I TO %%I',
              c.relname, a.attname, n.nspname, s.relname, current_user)
FROM pg_attrdef d
JOIN pg_class c ON c.oid = d.adrelid
JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
JOIN pg_depend p ON p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid = 'pg_class'::regclass
JOIN pg_class s ON s.oid = p.refobjid
JOIN pg_namespace n ON n.oid = s.relnamespace
WHERE d.adrelid = ANY (%s::oid[])
  -- In this order: the function refuses whatever is not a sequence.
  AND CASE WHEN s.relkind = 'S' THEN NOT has_sequence_privilege(s.oid, 'USAGE,UPDATE') END
"""

# The search path passes over a schema that the role may not use, so that its tables look absent.
_UNREACHABLE = """
SELECT c.relname, format('our account may not use the schema of %%I: GRANT USAGE ON SCHEMA %%I TO %%I',
                         c.relname, n.nspname, current_user)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = ANY (%s::text[]) AND c.relkind IN ('r', 'p') AND NOT has_schema_privilege(n.oid, 'USAGE')
  AND n.nspname IN (SELECT replace(trim(BOTH ' "' FROM part), '$user', current_user)
                    FROM unnest(string_to_array(current_setting('search_path'), ',')) AS part)
"""


def missing_privileges(rows: _Rows, tables: Collection[int]) -> Mapping[int, Sequence[str]]:
    """Return a sentence for each privilege that is missing beside those on columns, by the table's oid."""
    missing = defaultdict(list)
    for oid, sentence in rows(_MISSING, [list(tables)]):
        missing[oid].append(sentence)
    return missing


def unreachable_tables(rows: _Rows, names: Collection[str]) -> dict[str, str]:
    """Return a sentence for each of these tables that is in a schema which our account may not use."""
    return dict(rows(_UNREACHABLE, [list(names)]))
