import contextlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from cata_pipeline.images.failure import PictureError
from cata_pipeline.images.picture_url import checked_url, host_of, redirect_target
from cata_pipeline_tests.images.hosts import policy_for

POLICY = policy_for(8080)
LONGEST = 2048


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("https://cdn.example/a.jpg", "https://cdn.example/a.jpg"),
        ("  http://cdn.example/a.jpg\n", "http://cdn.example/a.jpg"),
        ("//cdn.example/a.jpg", "https://cdn.example/a.jpg"),
        ("http://cdn.example:443/a.jpg", "http://cdn.example:443/a.jpg"),
        ("http://127.0.0.1:8080/a.jpg", "http://127.0.0.1:8080/a.jpg"),
        ("https://cdn.example/a%2Fb%7Ec?sig=%2b/=+", "https://cdn.example/a%2Fb%7Ec?sig=%2b/=+"),
        ("https://cdn.example/kopi susu.jpg", "https://cdn.example/kopi%20susu.jpg"),
        ("https://cdn.example/a.jpg#top", "https://cdn.example/a.jpg#top"),
        ("https://cdn_1.example./a.jpg", "https://cdn_1.example./a.jpg"),
        ("https://[2606:4700::1111]/a.jpg", "https://[2606:4700::1111]/a.jpg"),
        ("https://bücher.example/ü.jpg", "https://xn--bcher-kva.example/%C3%BC.jpg"),
    ],
)
def test_a_usable_url_is_asked_in_its_own_spelling(text: str, asked: str) -> None:
    assert str(checked_url(text, POLICY, LONGEST)) == asked


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "http:// or https://"),
        ("/a.jpg", "http:// or https://"),
        ("a.jpg", "http:// or https://"),
        ("data:image/png;base64,AA==", "http:// or https://"),
        ("file:///etc/passwd", "http:// or https://"),
        ("gopher://cdn.example/", "http:// or https://"),
        ("http:///a.jpg", "names no host"),
        ("http://user@cdn.example/a.jpg", "user name or password"),
        ("http://user:secret@cdn.example/a.jpg", "user name or password"),
        ("http://:@cdn.example/a.jpg", "user name or password"),
        ("http://cdn.example\\@evil.example/a.jpg", "not a usable web address"),
        ("http://cdn.example/a\r\nHost: x", "not a usable web address"),
        ("http://cdn.ex\x00ample/", "not a usable web address"),
        ("http://[::1", "not a usable web address"),
        ("http://[::1]@/a.jpg", "not a usable web address"),
        ("http://cdn.example:port/", "not a usable web address"),
        ("http://cdn.example:99999/", "not a usable web address"),
        ("http://cdn.example:22/", "port other than 80 or 443"),
        ("http://cdn.example:0/", "port other than 80 or 443"),
        ("http://127.0.0.1:8081/", "port other than 80 or 443"),
        ("http://localhost:8080/", "port other than 80 or 443"),
        (f"http://cdn.example/{'a' * 2048}", "longer than 2,048 characters"),
        ("http://\ud800.example/", "not a usable web address"),
        ("http://a b.example/", "not a usable web address"),
        ("http://a\u3000b.example/", "not a usable web address"),
        ("http://a\tb.example/", "not a usable web address"),
        ("http://a%0d%0aHost:x/", "not a usable web address"),
        ("http://%31%32%37.0.0.1/", "not a usable web address"),
        ("http://a..b/", "not a usable web address"),
        ("http://../", "not a usable web address"),
        ("http://./", "not a usable web address"),
        ("http://{host}/", "not a usable web address"),
        (f"http://{'a' * 64}.example/", "not a usable web address"),
        (f"http://{'a.' * 127}example/", "not a usable web address"),
        ("http://xn--/", "not a usable web address"),
        ("http://[v1.x]/", "not a usable web address"),
        ("http://localhost\u200b/", "not a usable web address"),
        ("http:/cdn.example/a.jpg", "names no host"),
        ("https:///cdn.example/a.jpg", "names no host"),
        ("javascript:alert(1)", "http:// or https://"),
        ("blob:https://cdn.example/1", "http:// or https://"),
        ("ws://cdn.example/", "http:// or https://"),
        ("http+unix://%2Fvar%2Frun%2Fdocker.sock/", "http:// or https://"),
        ("http://good@cdn.example:80@127.0.0.1/", "user name or password"),
    ],
)
def test_an_unusable_url_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(PictureError, match=reason) as refusal:
        checked_url(text, POLICY, LONGEST)

    assert not refusal.value.transient
    assert "secret" not in refusal.value.reason


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/b.jpg", "https://cdn.example/b.jpg"),
        ("b.jpg?x=%2F", "https://cdn.example/dir/b.jpg?x=%2F"),
        ("//other.example/b.jpg", "https://other.example/b.jpg"),
        ("http://other.example/b.jpg", "http://other.example/b.jpg"),
    ],
)
def test_a_redirect_may_lead_to_another_usable_url(location: str, target: str) -> None:
    assert str(redirect_target(URL("https://cdn.example/dir/a.jpg"), location, POLICY, LONGEST)) == target


@pytest.mark.parametrize(
    "location",
    [
        "",
        "ftp://cdn.example/",
        "file:///etc/passwd",
        "data:,x",
        "http://u:p@cdn.example/",
        "http://x:22/",
        "http://[",
        "\x00",
    ],
)
def test_a_redirect_to_anything_else_is_refused(location: str) -> None:
    with pytest.raises(PictureError):
        redirect_target(URL("https://cdn.example/dir/a.jpg"), location, POLICY, LONGEST)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://cdn.example/a", "cdn.example"),
        ("  //CDN.Example./a", "cdn.example"),
        ("https://bücher.example/a", "xn--bcher-kva.example"),
        ("https://xn--bcher-kva.example/a", "xn--bcher-kva.example"),
        ("http://①②⑦.⓪.⓪.①/", "127.0.0.1"),
        ("http://[::1]:80/", "::1"),
        ("http://[::1", ""),
        ("nonsense", ""),
        ("http://\ud800/", ""),
    ],
)
def test_a_host_has_one_name_whatever_its_spelling(url: str, host: str) -> None:
    assert host_of(url) == host


@settings(max_examples=500, deadline=None)
@given(
    text=st.text() | st.text("[]@:/?#%.a1"),
    start=st.sampled_from(["", "http://", "//", "https://[", "http://a:", "http://a@", "http://a/"]),
)
def test_any_text_is_a_usable_url_or_a_picture_error(start: str, text: str) -> None:
    with contextlib.suppress(PictureError):
        url = checked_url(start + text, POLICY, LONGEST)
        assert url.scheme in {"http", "https"}
        assert (url.raw_user, url.raw_password) == (None, None)
        assert url.port in {80, 443}
        assert (url.raw_host or " ").isascii()
        assert not re.search(r"[\s\x00-\x1f%]", (url.raw_host or " ").partition("%25")[0])
    with contextlib.suppress(PictureError):
        redirect_target(URL("https://cdn.example/dir/a.jpg"), start + text, POLICY, LONGEST)
    assert isinstance(host_of(start + text), str)
