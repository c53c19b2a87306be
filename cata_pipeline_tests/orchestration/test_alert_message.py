"""What an alert says, and that it never grows beyond what Slack shows."""

from cata_pipeline.orchestration.alert_message import LONGEST, CheckNews, FailedRun, alert_text

DOWN = "no complete catalog (the POS answered 503)"
UI = "https://dagster.example/"


def run(number: int, tenants: dict[str, str] | None = None, **more: object) -> FailedRun:
    return FailedRun(f"{number:08}-6c1e-4d0e-9f2a-1b6f6a3c2d10", "sync_tenants", "it broke", tenants or {}, **more)  # type: ignore[arg-type]


def test_a_message_names_the_tenants_the_reason_and_the_run() -> None:
    failed = run(1, {"kopi": DOWN, "roti": "Nothing was written, because the plan is implausible"})
    assert alert_text([failed], UI) == (
        "*1 run failed, 2 tenants*\n\n"
        f"*sync_tenants*, 1 tenant: {DOWN}\nTenants: kopi\nRuns: <{UI}runs/{failed.run_id}|00000001>\n\n"
        "*sync_tenants*, 1 tenant: Nothing was written, because the plan is implausible\nTenants: roti\n"
        f"Runs: <{UI}runs/{failed.run_id}|00000001>"
    )


def test_without_the_address_of_the_ui_a_run_is_named_in_full() -> None:
    assert alert_text([run(1)], None).endswith(f"\nRuns: {run(1).run_id}")


def test_hundreds_that_failed_of_one_cause_are_one_paragraph() -> None:
    runs = [
        run(n, {f"t{n}-{m}": f"t{n}-{m}: port 443 closed after {m} tries" for m in range(100)}) for n in range(1, 8)
    ]
    assert alert_text(runs, None) == (
        "*7 runs failed, 700 tenants*\n\n"
        "*sync_tenants*, 700 tenants: t1-0: port 443 closed after 0 tries\n"
        "Tenants: t1-0, t1-1, t1-2, t1-3, t1-4, t1-5, t1-6, t1-7, t1-8, t1-9 and 690 more\n"
        f"Runs: {', '.join(run(n).run_id for n in range(1, 6))} and 2 more"
    )


def test_the_cause_that_most_tenants_share_comes_first() -> None:
    text = alert_text([run(1, {"ayam": "locked", "kopi": DOWN, "roti": DOWN})], None)
    assert text.index(DOWN) < text.index("locked")


def test_a_tenant_whose_name_is_a_word_of_the_reason_does_not_join_other_causes() -> None:
    text = alert_text([run(1, {"pos": "the pos-server is gone", "kopi": "the pos is gone"})], None)
    assert text.count("1 tenant:") == 2


def test_a_run_that_ended_before_it_could_say_names_what_it_was_started_for() -> None:
    text = alert_text([run(1, partitions="ayam to kopi"), run(2)], None)
    assert text.startswith("*2 runs failed*\n\n*sync_tenants*: it broke\nStarted for: ayam to kopi\nRuns: ")


def test_a_run_that_is_started_again_by_itself_is_told_apart() -> None:
    text = alert_text([run(1), run(2, restarts=True)], None)
    assert text.count("*sync_tenants*: it broke") == 2
    assert text.count("Dagster retries it") == 1


def test_a_reason_cannot_call_the_whole_channel_or_hide_a_link() -> None:
    text = alert_text([run(1, {"kopi": "<!channel> & <http://x|the POS>"})], None)
    assert "&lt;!channel&gt; &amp; &lt;http://x|the POS&gt;" in text


def test_a_message_never_grows_beyond_what_slack_shows_and_says_what_it_left_out() -> None:
    words = ["".join(chr(97 + (n // 26**i) % 26) for i in range(3)) * 300 for n in range(200)]
    runs = [run(n, {f"{'x' * 60}{n}": f"<{word}>"}) for n, word in enumerate(words)]
    text = alert_text(runs, f"https://{'d' * 200}/")
    assert len(text) <= LONGEST
    assert text.startswith("*200 runs failed, 200 tenants*")
    shown = text.count("Tenants: ")
    assert shown >= 2
    assert text.endswith(f"and {200 - shown} more reasons, {200 - shown} tenants; the runs are listed in Dagster.")


def test_even_one_reason_too_long_for_a_message_leaves_the_counts() -> None:
    text = alert_text([run(1, {"kopi": DOWN})], f"https://{'d' * 5_000}/")
    assert text == "*1 run failed, 1 tenant*\n\nand 1 more reason, 1 tenant; the runs are listed in Dagster."


def test_checks_come_first_and_lead_to_the_page_where_whoever_is_called_begins() -> None:
    checks = [
        CheckNews("no_tenant_stale", "240 of 10,000 <tenants>"),
        CheckNews("no_tenant_failed", "None.", over=True),
    ]
    assert alert_text([run(1)], UI, checks).startswith(
        "*no_tenant_stale fails*: 240 of 10,000 &lt;tenants&gt;\n\n*no_tenant_failed is over*: None.\n\n"
        f"See the checks of <{UI}assets/fleet_health?view=checks|fleet_health>.\n\n*1 run failed*"
    )


def test_all_checks_and_many_runs_stay_within_what_slack_shows() -> None:
    checks = [CheckNews(f"check_{number}", f"{number} of 10,000 tenants. " * 100) for number in range(5)]
    words = ["".join(chr(97 + (n // 26**i) % 26) for i in range(3)) * 300 for n in range(200)]
    text = alert_text(
        [run(n, {f"{'x' * 60}{n}": word}) for n, word in enumerate(words)], f"https://{'d' * 400}/", checks
    )
    assert len(text) <= LONGEST
    assert text.count(" fails*") == 5
    assert "See the checks of fleet_health." in text
    assert text.endswith("the runs are listed in Dagster.")
