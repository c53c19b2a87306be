"""The demo POS as a client sees it: real HTTP on loopback."""

import dataclasses
import io
import ipaddress
import re
import socket
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from cata_pipeline.demo.menus import MENUS, Menu
from cata_pipeline.demo.pos import DemoPos, DemoStore
from cata_pipeline.settings import Endpoint, Settings

ALL_INCLUDES = "OutletPrice,Tags,ModifierGroups,Modifiers,Bundles"
every_menu = pytest.mark.parametrize("menu", MENUS, ids=lambda menu: menu.tenant_id)

Row = dict[str, Any]


@pytest.fixture(scope="module")
def running() -> Iterator[DemoPos]:
    """One POS for the tests that change nothing."""
    with DemoPos() as pos:
        yield pos


@pytest.fixture
def pos() -> Iterator[DemoPos]:
    """A POS of the test's own."""
    with DemoPos() as pos:
        yield pos


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=30) as client:
        yield client


def _log_in(http: httpx.Client, pos: DemoPos, credentials: dict[str, str]) -> httpx.Response:
    form = {
        "grant_type": "client_credentials",
        "client_id": credentials["api_key"],
        "client_secret": credentials["api_secret"],
    }
    return http.post(pos.token_url, data=form)


def _authorization(http: httpx.Client, pos: DemoPos, tenant_id: str) -> dict[str, str]:
    token = _log_in(http, pos, pos.store(tenant_id).credentials).json()["access_token"]
    return {"Authorization": f"Bearer {token}"}


def _ask(http: httpx.Client, store: DemoStore, authorization: dict[str, str], **changes: object) -> httpx.Response:
    body = {
        "track_inventory": False,
        "modified_after": "2000-01-01T00:00:00",
        "page": 1,
        "page_size": 200,
        "includes": ALL_INCLUDES,
    }
    body.update(changes)
    return http.post(f"{store.url}/api/v2/GetProducts", json=body, headers=authorization)


def _rows(http: httpx.Client, pos: DemoPos, tenant_id: str) -> list[Row]:
    """Both answers to track_inventory, as an adapter unites them."""
    authorization, store = _authorization(http, pos, tenant_id), pos.store(tenant_id)
    replies = [_ask(http, store, authorization, track_inventory=tracked).json() for tracked in (False, True)]
    assert not any(reply["has_next_item"] for reply in replies)
    return [row for reply in replies for row in reply["products"]]


def _row(http: httpx.Client, pos: DemoPos, tenant_id: str, code: str) -> Row:
    (row,) = [row for row in _rows(http, pos, tenant_id) if code in (row["sku"], row["product_id"])]
    return row


def _image(row: Row) -> str:
    images = row["images"]
    return str(images if isinstance(images, str) else (images or [""])[0])


def test_good_credentials_give_a_token_and_the_address_of_their_store(running: DemoPos, http: httpx.Client) -> None:
    store = running.store("kopi-kita")
    reply = _log_in(http, running, store.credentials)
    body = reply.json()
    assert reply.status_code == 200
    assert set(body) == {"access_token", "token_type", "expires_in", "refresh_token", "resource_url"}
    assert (body["token_type"], body["expires_in"], body["resource_url"]) == ("bearer", 1209599, store.url)


def test_every_token_is_new(running: DemoPos, http: httpx.Client) -> None:
    credentials = running.store("kopi-kita").credentials
    tokens = {_log_in(http, running, credentials).json()["access_token"] for _ in range(3)}
    assert len(tokens) == 3


@pytest.mark.parametrize("wrong", [{"api_secret": "guess"}, {"api_key": "nobody"}])
def test_wrong_credentials_are_refused_with_a_json_error(
    running: DemoPos, http: httpx.Client, wrong: dict[str, str]
) -> None:
    reply = _log_in(http, running, running.store("kopi-kita").credentials | wrong)
    assert reply.status_code == 401
    assert reply.json()["error"] == "invalid_client"


def test_another_grant_type_is_refused(running: DemoPos, http: httpx.Client) -> None:
    reply = http.post(running.token_url, data={"grant_type": "password"})
    assert (reply.status_code, reply.json()["error"]) == (400, "unsupported_grant_type")


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer made-up"}, {"Authorization": "Basic eDp5"}])
@pytest.mark.parametrize("call", ["GetProducts", "GetStoreInfo"])
def test_a_call_without_a_known_token_is_unauthorized(
    running: DemoPos, http: httpx.Client, headers: dict[str, str], call: str
) -> None:
    reply = http.post(f"{running.store('kopi-kita').url}/api/v2/{call}", headers=headers)
    assert (reply.status_code, reply.json()["status"]) == (401, False)


def test_a_token_of_another_store_is_forbidden(running: DemoPos, http: httpx.Client) -> None:
    foreign = _authorization(http, running, "roti-pagi")
    reply = _ask(http, running.store("kopi-kita"), foreign)
    assert (reply.status_code, reply.json()["products"]) == (403, [])


def test_store_info_names_the_store_and_its_outlet(running: DemoPos, http: httpx.Client) -> None:
    store = running.store("roti-pagi")
    reply = http.post(f"{store.url}/api/v2/GetStoreInfo", headers=_authorization(http, running, "roti-pagi")).json()
    assert reply["status"] is True
    assert reply["store_info"]["store_name"] == "Roti Pagi Ubud"
    assert len(reply["store_info"]["active_outlets"]) == 1


@every_menu
def test_both_answers_to_track_inventory_are_disjoint_and_together_the_menu(
    running: DemoPos, http: httpx.Client, menu: Menu
) -> None:
    ids = [row["product_id"] for row in _rows(http, running, menu.tenant_id)]
    assert len(ids) == len(set(ids))
    assert set(ids) == {product.product_id for product in menu.products}


def test_paging_reaches_every_row_once_and_says_where_it_ends(running: DemoPos, http: httpx.Client) -> None:
    store, authorization = running.store("kopi-kita"), _authorization(http, running, "kopi-kita")
    whole = _ask(http, store, authorization).json()["products"]
    pages = [_ask(http, store, authorization, page=page, page_size=28).json() for page in range(1, 6)]
    assert len(whole) == 4 * 28
    assert [page["has_next_item"] for page in pages] == [True, True, True, False, False]
    assert [row for page in pages for row in page["products"]] == whole
    assert pages[4]["products"] == []


def test_a_page_holds_at_most_five_hundred_rows(http: httpx.Client) -> None:
    rows = tuple(
        dataclasses.replace(MENUS[0].products[0], product_id=str(uuid.UUID(int=number)), sku=f"S{number}")
        for number in range(501)
    )
    with DemoPos([dataclasses.replace(MENUS[0], products=rows)]) as pos:
        reply = _ask(http, pos.store("kopi-kita"), _authorization(http, pos, "kopi-kita"), page_size=9999).json()
    assert (len(reply["products"]), reply["has_next_item"]) == (500, True)


def test_modified_after_includes_its_own_second(running: DemoPos, http: httpx.Client) -> None:
    store, authorization = running.store("kopi-kita"), _authorization(http, running, "kopi-kita")
    dates = sorted(row["modified_date"] for row in _ask(http, store, authorization).json()["products"])
    reply = _ask(http, store, authorization, modified_after=dates[-3].replace(" ", "T")).json()
    assert sorted(row["modified_date"] for row in reply["products"]) == dates[-3:]


def test_a_form_is_understood_as_well_as_json(running: DemoPos, http: httpx.Client) -> None:
    store, authorization = running.store("kopi-kita"), _authorization(http, running, "kopi-kita")
    form = {
        "track_inventory": "true",
        "modified_after": "2000-01-01T00:00:00",
        "page": "1",
        "page_size": "200",
        "includes": ALL_INCLUDES,
    }
    by_form = http.post(f"{store.url}/api/v2/GetProducts", data=form, headers=authorization).json()
    assert by_form["products"]
    assert by_form == _ask(http, store, authorization, track_inventory=True).json()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("track_inventory", None),
        ("track_inventory", 1),
        ("page", 0),
        ("page", "one"),
        ("page", True),
        ("page_size", None),
        ("modified_after", "yesterday"),
        ("modified_after", "2025-01-01T00:00:00Z"),
        ("includes", ["Bundles"]),
    ],
)
def test_a_bad_parameter_is_answered_with_200_and_status_false(
    running: DemoPos, http: httpx.Client, name: str, value: object
) -> None:
    store, authorization = running.store("kopi-kita"), _authorization(http, running, "kopi-kita")
    reply = _ask(http, store, authorization, **{name: value})
    assert (reply.status_code, reply.json()["status"], reply.json()["products"]) == (200, False, [])
    assert name in reply.json()["error_message"]


@pytest.mark.parametrize("body", [b"{", b"[]"])
def test_a_body_that_is_no_object_is_answered_with_status_false(
    running: DemoPos, http: httpx.Client, body: bytes
) -> None:
    headers = _authorization(http, running, "kopi-kita") | {"Content-Type": "application/json"}
    reply = http.post(f"{running.store('kopi-kita').url}/api/v2/GetProducts", content=body, headers=headers)
    assert (reply.status_code, reply.json()["status"]) == (200, False)


def test_a_page_far_beyond_the_end_is_empty(running: DemoPos, http: httpx.Client) -> None:
    reply = _ask(http, running.store("kopi-kita"), _authorization(http, running, "kopi-kita"), page=10**30).json()
    assert (reply["status"], reply["products"], reply["has_next_item"]) == (True, [], False)


@pytest.mark.parametrize(
    ("include", "field", "code"),
    [
        ("Bundles", "bundles", "DUO"),
        ("ModifierGroups", "modifier_groups", "KS-L-ICE"),
        ("Tags", "tags", "KS-L-ICE"),
        ("OutletPrice", "outlet_prices", "KS-L-ICE"),
    ],
)
def test_what_is_not_included_is_null(
    running: DemoPos, http: httpx.Client, include: str, field: str, code: str
) -> None:
    store, authorization = running.store("kopi-kita"), _authorization(http, running, "kopi-kita")

    def value(includes: str) -> object:
        rows = _ask(http, store, authorization, includes=includes).json()["products"]
        return next(row[field] for row in rows if row["sku"] == code)

    assert value(ALL_INCLUDES)
    assert value(ALL_INCLUDES.replace(include, "").strip(",") if include != "Tags" else "Bundles") is None


def test_groups_come_without_their_modifiers_unless_those_are_included(running: DemoPos, http: httpx.Client) -> None:
    store, authorization = running.store("kopi-kita"), _authorization(http, running, "kopi-kita")
    rows = _ask(http, store, authorization, includes="ModifierGroups").json()["products"]
    groups = [group for row in rows for group in row["modifier_groups"]]
    assert groups
    assert {group["modifiers"] for group in groups} == {None}


@every_menu
def test_rows_are_as_uneven_as_the_vendors(running: DemoPos, http: httpx.Client, menu: Menu) -> None:
    rows = _rows(http, running, menu.tenant_id)
    assert {type(row["price"]) for row in rows} == {str, int}
    assert all(re.fullmatch(r"\d+\.0000", row["price"]) for row in rows if isinstance(row["price"], str))
    images = Counter(type(row["images"]) for row in rows)
    assert images[list] > images[str] > 0
    for sometimes in ("product_header_id", "is_active"):
        assert {sometimes in row for row in rows} == {True, False}
    assert all(isinstance(row["tags"], list) for row in rows)
    assert {row["product_type"] is None for row in rows} == {True, False}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", row["modified_date"]) for row in rows)
    groups = [group for row in rows for group in row["modifier_groups"]]
    assert {"is_active" in group for group in groups} == {True, False}


@every_menu
def test_the_planned_rows_are_on_the_wire(running: DemoPos, http: httpx.Client, menu: Menu) -> None:
    rows, cases = _rows(http, running, menu.tenant_id), menu.cases
    by_id = {row["product_id"]: row for row in rows}
    by_sku = {row["sku"]: row for row in rows}
    twice = [row for row in rows if row["sku"] == cases.duplicate_sku]
    assert by_id[cases.empty_sku_product_id]["sku"] == ""
    assert sorted(row.get("is_active", True) for row in twice) == [False, True]
    assert by_sku[cases.inactive]["is_active"] is False
    assert not _image(by_sku[cases.no_picture])
    assert len({_image(by_sku[code]) for code in cases.shared_picture}) == 1
    assert any(ord(letter) > 0x2000 for letter in by_sku[cases.accented]["name"])
    assert "è" in by_sku[cases.accented]["name"]
    assert [row["product_id"] for row in rows if not row["name"]] == [
        identity for identity in [cases.nameless_product_id] if identity
    ]


@every_menu
def test_a_family_of_variants_shares_header_and_name(running: DemoPos, http: httpx.Client, menu: Menu) -> None:
    rows = _rows(http, running, menu.tenant_id)
    family = [row for row in rows if row["sku"] in menu.cases.variant_family]
    assert len({(row["product_header_id"], row["name"], row["type"]) for row in family}) == 1
    assert len({str(row["variant_options"]) for row in family}) == len(menu.cases.variant_family)


@every_menu
def test_a_comboset_has_slots_with_alternatives_and_two_equal_components(
    running: DemoPos, http: httpx.Client, menu: Menu
) -> None:
    row = _row(http, running, menu.tenant_id, menu.cases.comboset)
    slots = Counter(component["category"] for component in row["bundles"])
    equal = Counter(str(component) for component in row["bundles"])
    known = {product["product_id"] for product in _rows(http, running, menu.tenant_id)}
    assert row["type"] == "comboset"
    assert len(slots) >= 2
    assert max(equal.values()) == 2
    assert {component["product_id"] for component in row["bundles"]} <= known


@every_menu
def test_a_composite_has_ingredients_and_no_bundle(running: DemoPos, http: httpx.Client, menu: Menu) -> None:
    row = _row(http, running, menu.tenant_id, menu.cases.composite)
    assert (row["type"], row["bundles"]) == ("composite", None)
    assert row["ingredients"]


@every_menu
def test_one_nested_modifier_names_the_wrong_group(running: DemoPos, http: httpx.Client, menu: Menu) -> None:
    rows = _rows(http, running, menu.tenant_id)
    strays = [
        (row["sku"], modifier["modifier_group_id"] in {other["modifier_group_id"] for other in row["modifier_groups"]})
        for row in rows
        for group in row["modifier_groups"]
        for modifier in group["modifiers"]
        if modifier["modifier_group_id"] != group["modifier_group_id"]
    ]
    assert strays == [(menu.cases.wrong_inner_group, True)]


@every_menu
def test_every_picture_decodes_as_what_it_says_except_the_planned_ones(
    running: DemoPos, http: httpx.Client, menu: Menu
) -> None:
    expected = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
    rows = _rows(http, running, menu.tenant_id)
    seen: Counter[str] = Counter()
    for row in rows[::9]:
        if row["sku"] in {menu.cases.missing_picture, menu.cases.broken_picture} or not _image(row):
            continue
        reply = http.get(_image(row))
        with Image.open(io.BytesIO(reply.content)) as picture:
            picture.load()
            assert picture.format == expected[reply.headers["Content-Type"]]
        seen[reply.headers["Content-Type"]] += 1
    assert set(seen) == set(expected)


@every_menu
def test_the_broken_picture_cannot_be_decoded_and_the_missing_one_is_not_found(
    running: DemoPos, http: httpx.Client, menu: Menu
) -> None:
    broken = http.get(_image(_row(http, running, menu.tenant_id, menu.cases.broken_picture)))
    missing = http.get(_image(_row(http, running, menu.tenant_id, menu.cases.missing_picture)))
    assert (broken.status_code, broken.headers["Content-Type"], missing.status_code) == (200, "image/jpeg", 404)
    with Image.open(io.BytesIO(broken.content)) as picture, pytest.raises(OSError, match="truncated"):
        picture.load()


@pytest.mark.parametrize("path", ["/nothing", f"/{'0' * 32}/{'0' * 32}.jpg"])
def test_an_unknown_picture_is_not_found(running: DemoPos, http: httpx.Client, path: str) -> None:
    assert http.get(f"http://127.0.0.1:{running.ports[0]}{path}").status_code == 404


def test_picture_addresses_have_the_vendors_form(running: DemoPos, http: httpx.Client) -> None:
    pattern = rf"http://127\.0\.0\.1:{running.ports[0]}/[0-9a-f]{{32}}/[0-9a-f]{{32}}\.(jpg|png|webp)"
    urls = [_image(row) for row in _rows(http, running, "kopi-kita")]
    assert all(re.fullmatch(pattern, url) for url in urls if url)


def test_a_picture_that_is_known_already_costs_no_body(running: DemoPos, http: httpx.Client) -> None:
    url = _image(_row(http, running, "kopi-kita", "AME-HOT"))
    first = http.get(url)
    etag, changed = first.headers["ETag"], first.headers["Last-Modified"]
    assert re.fullmatch(r'"[0-9a-f]+"', etag)
    for validator in ({"If-None-Match": etag}, {"If-None-Match": f'"other", {etag}'}, {"If-Modified-Since": changed}):
        again = http.get(url, headers=validator)
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)


def test_an_etag_that_does_not_match_outweighs_the_date(running: DemoPos, http: httpx.Client) -> None:
    url = _image(_row(http, running, "kopi-kita", "AME-HOT"))
    changed = http.get(url).headers["Last-Modified"]
    again = http.get(url, headers={"If-None-Match": '"other"', "If-Modified-Since": changed})
    assert again.status_code == 200


@pytest.mark.parametrize(
    ("edit", "field", "value"),
    [
        (lambda store: store.rename("KS-L-ICE", "Es Kopi Susu Tetangga"), "name", "Es Kopi Susu Tetangga"),
        (lambda store: store.deactivate("KS-L-ICE"), "is_active", False),
        (lambda store: store.remove_picture("KS-L-ICE"), "images", []),
    ],
)
def test_an_edit_is_visible_and_moves_the_modified_date_past_all_others(
    pos: DemoPos, http: httpx.Client, edit: Callable[[DemoStore], None], field: str, value: object
) -> None:
    before = _rows(http, pos, "kopi-kita")
    edit(pos.store("kopi-kita"))
    after = _row(http, pos, "kopi-kita", "KS-L-ICE")
    assert (after[field] or []) == (value or []) if field == "images" else after[field] == value
    assert after["modified_date"] > max(row["modified_date"] for row in before)


def test_a_deactivated_product_can_be_activated_again(pos: DemoPos, http: httpx.Client) -> None:
    store = pos.store("kopi-kita")
    code = store.menu.cases.inactive
    store.activate(code)
    assert _row(http, pos, "kopi-kita", code).get("is_active", True) is True


def test_two_edits_move_the_modified_date_twice(pos: DemoPos) -> None:
    store = pos.store("kopi-kita")
    store.deactivate("NGK")
    first = store.product("NGK").modified_at
    store.activate("NGK")
    assert store.product("NGK").modified_at > first


def test_a_removed_product_is_absent(pos: DemoPos, http: httpx.Client) -> None:
    before = {row["product_id"] for row in _rows(http, pos, "roti-pagi")}
    store = pos.store("roti-pagi")
    gone = store.product(store.menu.cases.to_remove)
    store.remove(gone.item_code)
    assert before - {row["product_id"] for row in _rows(http, pos, "roti-pagi")} == {gone.product_id}


def test_a_product_without_a_sku_is_edited_by_its_product_id(pos: DemoPos, http: httpx.Client) -> None:
    store = pos.store("kopi-kita")
    code = store.menu.cases.empty_sku_product_id
    store.rename(code, "Air Putih")
    assert _row(http, pos, "kopi-kita", code)["name"] == "Air Putih"


def test_an_emptied_store_answers_no_products_at_all(pos: DemoPos, http: httpx.Client) -> None:
    pos.store("kopi-kita").empty()
    assert _rows(http, pos, "kopi-kita") == []
    assert len(_rows(http, pos, "roti-pagi")) >= 120


def test_a_new_photo_has_a_new_address_and_the_old_one_stays(pos: DemoPos, http: httpx.Client) -> None:
    before = _image(_row(http, pos, "kopi-kita", "MGJ"))
    old = http.get(before).content
    pos.store("kopi-kita").change_picture("MGJ")
    after = _image(_row(http, pos, "kopi-kita", "MGJ"))
    new = http.get(after).content
    assert after != before
    assert new != old
    assert http.get(before).content == old
    assert Image.open(io.BytesIO(new)).format == Image.open(io.BytesIO(old)).format


def test_a_redrawn_photo_keeps_its_address_and_loses_its_validators(pos: DemoPos, http: httpx.Client) -> None:
    url = _image(_row(http, pos, "kopi-kita", "MGJ"))
    old = http.get(url)
    pos.store("kopi-kita").redraw_picture("MGJ")
    assert _image(_row(http, pos, "kopi-kita", "MGJ")) == url
    for name, value in (("If-None-Match", old.headers["ETag"]), ("If-Modified-Since", old.headers["Last-Modified"])):
        new = http.get(url, headers={name: value})
        assert new.status_code == 200
        assert new.content != old.content


def test_a_product_without_a_photo_can_get_one_but_has_none_to_redraw(pos: DemoPos, http: httpx.Client) -> None:
    store = pos.store("kopi-kita")
    code = store.menu.cases.no_picture
    with pytest.raises(LookupError, match="change_picture"):
        store.redraw_picture(code)
    store.change_picture(code)
    assert http.get(_image(_row(http, pos, "kopi-kita", code))).status_code == 200


def test_a_missing_picture_cannot_be_redrawn(pos: DemoPos) -> None:
    store = pos.store("kopi-kita")
    with pytest.raises(LookupError, match="not missing"):
        store.redraw_picture(store.menu.cases.missing_picture)


def test_edits_of_several_threads_are_all_kept(pos: DemoPos) -> None:
    store = pos.store("kopi-kita")
    codes = [product.sku for product in store.products if product.type == "variant"]
    threads = [threading.Thread(target=store.rename, args=(code, f"Baru {code}")) for code in codes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.product(code).name for code in codes] == [f"Baru {code}" for code in codes]
    assert len({store.product(code).modified_at for code in codes}) == len(codes)


def test_requests_are_counted_by_kind_and_store(pos: DemoPos, http: httpx.Client) -> None:
    url = _image(_row(http, pos, "kopi-kita", "MGJ"))
    etag = http.get(url).headers["ETag"]
    http.get(url, headers={"If-None-Match": etag})
    _log_in(http, pos, pos.store("kopi-kita").credentials | {"api_secret": "guess"})
    assert pos.store("kopi-kita").requests_served == {"token": 1, "products": 2, "pictures": 1, "not_modified": 1}
    assert pos.store("roti-pagi").requests_served == {}


def test_endpoints_are_what_the_settings_expect(running: DemoPos) -> None:
    settings = Settings.from_environment(
        {
            "CATA_DATABASE_URL": "postgresql+psycopg://cata@db.test/control",
            "CATA_TENANT_DATABASE_URL": "postgresql+psycopg://cata@db.test/tenant{tenant}",
            "CATA_IMAGE_BUCKET": "images",
            "CATA_SNAPSHOT_BUCKET": "snapshots",
            "CATA_ALLOW_PRIVATE_ENDPOINTS": running.endpoints,
        }
    )
    here = ipaddress.ip_address("127.0.0.1")
    assert settings.private_endpoints == {Endpoint(here, port) for port in running.ports}


def test_every_store_is_an_origin_of_its_own(running: DemoPos) -> None:
    assert len(set(running.ports)) == 4
    assert [running.store(menu.tenant_id).url for menu in MENUS] == [
        f"http://127.0.0.1:{port}" for port in running.ports[1:]
    ]


def test_a_taken_port_is_replaced_and_the_others_are_kept() -> None:
    with DemoPos() as first:
        wanted = first.ports
    with socket.create_server(("127.0.0.1", wanted[1])), DemoPos(ports=wanted) as second:
        assert (second.ports[0], *second.ports[2:]) == (wanted[0], *wanted[2:])
        assert second.ports[1] != wanted[1]


def test_credentials_stay_valid_from_run_to_run(http: httpx.Client) -> None:
    with DemoPos() as first:
        credentials = first.store("kopi-kita").credentials
    with DemoPos() as second:
        assert _log_in(http, second, credentials).status_code == 200


def test_a_stopped_pos_refuses_connections_and_can_be_started_again(http: httpx.Client) -> None:
    pos = DemoPos()
    pos.start()
    pos.start()
    old = _authorization(http, pos, "kopi-kita")
    pos.store("kopi-kita").rename("NGK", "Nasi Goreng Baru")
    ports = pos.ports
    pos.stop()
    pos.stop()
    with pytest.raises(httpx.ConnectError):
        _ask(http, pos.store("kopi-kita"), old)
    with pos:
        assert pos.ports == ports
        assert _ask(http, pos.store("kopi-kita"), old).status_code == 401
        assert _row(http, pos, "kopi-kita", "NGK")["name"] == "Nasi Goreng Baru"


def test_stopping_leaves_no_thread_behind_even_while_a_client_is_in_the_middle_of_a_request() -> None:
    before = set(threading.enumerate())
    with DemoPos() as pos, socket.create_connection(("127.0.0.1", pos.ports[0])) as slow:
        slow.sendall(b"POST /oauth/token HTTP/1.1\r\nHost: demo\r\nContent-Length: 10\r\n\r\n")
        assert set(threading.enumerate()) > before
        pos.stop()
        assert set(threading.enumerate()) == before


def test_a_pos_that_never_started_says_so() -> None:
    pos = DemoPos()
    pos.stop()
    with pytest.raises(RuntimeError, match=r"start\(\)"):
        _ = pos.token_url


def test_an_unknown_store_is_said(running: DemoPos) -> None:
    with pytest.raises(LookupError, match="kopi-kita"):
        running.store("kopi-kitchen")
