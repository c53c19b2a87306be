import pytest
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
        ("http://cdn.example:port/", "not a usable web address"),
        ("http://cdn.example:99999/", "not a usable web address"),
        ("http://cdn.example:22/", "port other than 80 or 443"),
        ("http://cdn.example:0/", "port other than 80 or 443"),
        ("http://127.0.0.1:8081/", "port other than 80 or 443"),
        ("http://localhost:8080/", "port other than 80 or 443"),
        (f"http://cdn.example/{'a' * 2048}", "longer than 2,048 characters"),
        ("http://\ud800.example/", "not a usable web address"),
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
    [("https://cdn.example/a", "cdn.example"), ("http://[::1", ""), ("nonsense", ""), ("http://\ud800/", "")],
)
def test_the_host_is_named_where_there_is_one(url: str, host: str) -> None:
    assert host_of(url) == host
