"""The address guard on URLs: every spelling that has let servers be turned on their own network."""

from ipaddress import ip_network
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from tests import anything
from worker.errors import AddressRefused
from worker.webhooks.address import Policy, check_url

STRICT = Policy()
LOCAL = Policy(allow_networks=(ip_network("127.0.0.0/8"), ip_network("::1/128")), allow_http=True, allow_ports=None)


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",  # decimal
        "3232235521",
        "017700000001",  # octal
        "0177.0.0.1",
        "0177.0.0.01",
        "127.0.0.01",
        "0x7f000001",  # hexadecimal
        "0x7f.0.0.1",
        "0X7F.0x0.0x0.0x1",
        "127.0.0.0x1",
        "127.1",  # short
        "127.0.1",
        "0",
        "0x",
        "127.0.0.1.",  # trailing dot
        "127.0.0.256",
        "1.1.1.1.1",
        "008.8.8.8",  # even where the address meant is public
        "134744072",
        "8.8.2056",
        "example.0x7f",
        "example.127",
    ],
)
def test_an_ipv4_address_in_another_form_is_refused(host: str) -> None:
    for policy in (STRICT, LOCAL):
        with pytest.raises(AddressRefused):
            check_url(f"https://{host}/hook", policy)


@pytest.mark.parametrize(
    "host",
    [
        "\uff11\uff12\uff17.0.0.1",  # full-width digits
        "\u2460\u2461\u2466.0.0.1",  # circled digits
        "\u0661\u0662\u0667.\u0660.\u0660.\u0661",  # Arabic-Indic digits
        "127\u30020\u30020\u30021",  # ideographic full stops
        "127\uff0e0\uff0e0\uff0e1",  # full-width full stops
        "127\uff610\uff610\uff611",
        "\u24d4xample.com",  # circled letter
        "\uff45xample.com",  # full-width letter
        "m\u00fcn\u212aen.com",  # Kelvin sign
        "ex\u200bample.com",  # zero-width space
        "ex\u00adample.com",  # soft hyphen
        "example\u3002com",
        "fa\u00df.de",  # differs between two editions of IDNA
        "mu\u0308nchen.de",  # not composed
        "\u202eexample.com",  # right-to-left override
        "\ud800.com",  # not a character at all
        pytest.param("\u00fc" * 64 + ".de", id="long label"),
        pytest.param("\u00fc" * 254, id="long name"),
    ],
)
def test_a_unicode_host_that_does_not_survive_idna_is_refused(host: str) -> None:
    for policy in (STRICT, LOCAL):
        with pytest.raises(AddressRefused, match="xn--"):
            check_url(f"https://{host}/hook", policy)


@pytest.mark.parametrize(
    ("host", "encoded"),
    [
        ("münchen.de", "xn--mnchen-3ya.de"),
        ("MÜNCHEN.de", "xn--mnchen-3ya.de"),
        ("例え.jp", "xn--r8jz45g.jp"),
        ("xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
    ],
)
def test_a_clean_unicode_host_is_sent_in_its_ascii_form(host: str, encoded: str) -> None:
    assert check_url(f"https://{host}/hook", STRICT).host == encoded


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https",
        "https:",
        "https://",
        "https:///hook",
        "https:/example.com",
        "https:example.com",
        "//example.com/hook",
        "example.com/hook",
        "http://example.com/hook",
        "ftp://example.com/hook",
        "file:///etc/passwd",
        "gopher://example.com:443/",
        "https+unix://example.com/",
        "javascript://example.com/%0aalert(1)",
        "https://user@example.com/",
        "https://user:password@example.com/",
        "https://@example.com/",
        "https://example.com@127.0.0.1/",
        "https://127.0.0.1\\@example.com/",
        "https:\\\\example.com\\hook",
        "https://example.com/\\..\\",
        " https://example.com/",
        "https://example.com/ ",
        "https://exa mple.com/",
        "https://example.com/a b",
        "https://example.com/\r\nHost: internal",
        "https://exa\tmple.com/",
        "https://exa\nmple.com/",
        "https://example.com/\x00",
        "https://example.com/\x7f",
        "https://example.com/hök",
        "https://example.com/?q=hök",
        "https://example.com./",
        "https://example.com../",
        "https://./",
        "https://.example.com/",
        "https://exa..mple.com/",
        "https://-example.com/",
        "https://example-.com/",
        "https://exam%70le.com/",
        "https://%31%32%37.0.0.1/",
        "https://exa*mple.com/",
        "https://exa,mple.com/",
        "https://localhost/",
        "https://LOCALHOST/",
        "https://hook.localhost/",
        "https://localhost./",
        "https://[::1",
        "https://::1/",
        "https://[::1]x/",
        "https://[fe80::1%25eth0]/",
        "https://[fe80::1%eth0]/",
        "https://[2606:4700:4700::1111%251]/",
        "https://[v1.fe80::1]/",
        "https://[1.1.1.1]/",
        "https://[]/",
        "https://[:]/",
        "https://[2606:4700:4700::1111]:80/",
        "https://example.com:80/",
        "https://example.com:22/",
        "https://example.com:0/",
        "https://example.com:65536/",
        "https://example.com:99999999/",
        "https://example.com:-443/",
        "https://example.com:4 43/",
        "https://example.com:443:443/",
        "https://example.com:\uff14\uff14\uff13/",
        "https://example.com:https/",
        pytest.param("https://" + "a" * 64 + ".com/", id="long label"),
        pytest.param("https://" + "a." * 127 + "com/", id="long name"),
        pytest.param("https://example.com/" + "a" * 2048, id="long URL"),
    ],
)
def test_a_url_that_is_not_plain_https_to_a_public_name_is_refused(url: str) -> None:
    with pytest.raises(AddressRefused):
        check_url(url, STRICT)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.com/", "https://"),
        ("https://user@example.com/", "user name"),
        ("https://example.com./", "end in a dot"),
        ("https://example.com/a b", "spaces"),
        ("https://example.com:22/", "port 22"),
        ("https://localhost/", "localhost"),
        ("https://exa*mple.com/", "valid name"),
        ("https://127.1/", "plain form"),
    ],
)
def test_a_refusal_says_what_is_wrong(url: str, words: str) -> None:
    with pytest.raises(AddressRefused, match=words):
        check_url(url, STRICT)


@pytest.mark.parametrize(
    ("url", "sent_to"),
    [
        ("https://example.com", "https://example.com/"),
        ("https://example.com:443/hook", "https://example.com/hook"),
        ("https://example.com:/hook", "https://example.com/hook"),
        ("https://example.com:8443/hook", "https://example.com:8443/hook"),
        ("HTTPS://Example.COM/Hook", "https://example.com/Hook"),
        ("https://example.com?token=a%2Fb&c=+d~", "https://example.com/?token=a%2Fb&c=+d~"),
        ("https://example.com/a/../b//%2e%7e?x=%7e#part", "https://example.com/a/../b//%2e%7e?x=%7e"),
        ("https://my_service.example.com/", "https://my_service.example.com/"),
        ("https://127.0.0.1.nip.example/", "https://127.0.0.1.nip.example/"),
        ("https://1.1.1.1/hook", "https://1.1.1.1/hook"),
        ("https://[2606:4700:4700:0:0::1111]/hook", "https://[2606:4700:4700::1111]/hook"),
        ("https://[2606:4700:4700::1111]:8443", "https://[2606:4700:4700::1111]:8443/"),
    ],
)
def test_a_good_url_is_sent_to_as_it_was_given(url: str, sent_to: str) -> None:
    assert check_url(url, STRICT).url == sent_to


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:5000/hook",
        "http://127.8.9.10:5000/hook",
        "http://localhost:5000/hook",
        "http://hook.localhost/",
        "http://[::1]:5000/hook",
        "https://example.com:1/",
    ],
)
def test_a_development_policy_lets_loopback_pass_over_http_on_any_port(url: str) -> None:
    assert check_url(url, LOCAL).url == url


@pytest.mark.parametrize(
    "url",
    ["http://10.0.0.1/", "http://[::ffff:127.0.0.1]/", "http://[::2]/", "http://169.254.169.254/", "http://0.0.0.0/"],
)
def test_a_development_policy_lets_nothing_else_pass(url: str) -> None:
    with pytest.raises(AddressRefused):
        check_url(url, LOCAL)


def test_http_does_not_open_a_port_by_itself() -> None:
    with pytest.raises(AddressRefused, match="port 80"):
        check_url("http://example.com/", Policy(allow_http=True))


def test_ports_are_those_of_the_policy() -> None:
    policy = Policy(allow_ports=frozenset({9443}))

    assert check_url("https://example.com:9443/", policy).port == 9443
    with pytest.raises(AddressRefused, match="port 443"):
        check_url("https://example.com/", policy)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/PRIVATE?PRIVATE=PRIVATE",
        "https://PRIVATE:PRIVATE@example.com/PRIVATE?PRIVATE",
        "https://10.0.0.1/PRIVATE?PRIVATE#PRIVATE",
        "https://example.com:22/PRIVATE?PRIVATE",
        "https://0x7f000001/PRIVATE?PRIVATE",
        "https://example.com/PRIVATE?PRIVATE ",
        "https://example.com/PRIVATE?PRIVATEö",
        "https://example.com./PRIVATE?PRIVATE",
        "https://\uff11.0.0.1/PRIVATE?PRIVATE",
        pytest.param("https://example.com/" + "PRIVATE" * 300, id="long URL"),
    ],
)
def test_a_refusal_tells_neither_user_nor_path_nor_query(url: str) -> None:
    with pytest.raises(AddressRefused) as refusal:
        check_url(url, STRICT)

    assert "PRIVATE" not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_a_target_does_not_show_its_path_or_query_when_printed() -> None:
    target = check_url("https://example.com/PRIVATE?PRIVATE", STRICT)

    assert "PRIVATE" not in repr(target)


_WORDS = ["example.com", "127.0.0.1", "0x7f.1", "[::1]", "443", "8443", "%2e", "%40", "xn--", "localhost"]
_STARTS = st.sampled_from(["https://", "https://example.com", "http://127.0.0.1", "http://[::1]"])
_PIECES = st.lists(st.sampled_from([*_WORDS, *"[]:@//\\?#%.a-_;&\t \u3002\uff11ü"]), max_size=8)


@anything.examples(1000)
@given(_STARTS, _PIECES.map("".join))
def test_no_other_parser_reads_another_host_in_a_url_that_passed(start: str, rest: str) -> None:
    try:
        target = check_url(start + rest, LOCAL)
    except AddressRefused:
        return

    assert URL(target.url, encoded=True).raw_host == target.host
    assert URL(target.url).raw_host == target.host
    assert urlsplit(target.url).hostname == target.host
    assert check_url(target.url, LOCAL) == target
