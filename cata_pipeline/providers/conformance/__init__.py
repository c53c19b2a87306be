"""What any provider adapter must pass: a make-believe POS to build on, faults it can have, and the tests themselves.

For tests only: nothing that runs in production imports this package. `suite` needs pytest, which the extra
`cata-pipeline[conformance]` installs. A new provider writes a `PosServer` that speaks its wire format, and a subclass
of `ProviderConformance` that names it; see docs/adding-a-provider.md.
"""
