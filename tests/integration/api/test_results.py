"""What a job made: artifacts as files, its output as a document."""

import hashlib
import io
import wave
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.api.engine import Worker
from tests.integration.api.serving import Server, Tenant

PNG = bytes(range(256)) * 10
LARGE = b"0123456789abcdef" * 150_000


Make = Callable[..., str]


@pytest.fixture
def make(sqlite_server: Server, guest: Tenant, local: Worker) -> Make:
    """Completes a job with these artifacts; gives back the path of its artifacts."""

    def complete(**kinds: tuple[str, bytes]) -> str:
        job_id = str(guest.submit()["id"])
        artifacts = []
        for number, (kind, (mime_type, data)) in enumerate(kinds.items()):
            sqlite_server.context.artifacts.put(f"{job_id}/1.1/{number}", data)
            url = f"/v1/jobs/{job_id}/artifacts/{number}"
            artifacts.append({"id": number, "kind": kind, "mime_type": mime_type, "size": len(data), "url": url})
        local.complete(job_id, artifacts=artifacts)
        return f"/v1/jobs/{job_id}/artifacts"

    return complete


def test_an_artifact_is_given_whole(make: Make, guest: Tenant) -> None:
    path = make(image=("image/png", PNG))

    answer = guest.get(f"{path}/0")

    assert (answer.status_code, answer.content) == (200, PNG)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-length"] == str(len(PNG))
    assert answer.headers["accept-ranges"] == "bytes"
    assert answer.headers["content-disposition"].startswith('inline; filename="job_')


def test_a_large_artifact_comes_in_pieces_that_fit_together(make: Make, guest: Tenant) -> None:
    path = make(video=("video/mp4", LARGE))

    answer = guest.get(f"{path}/0")

    assert hashlib.sha256(answer.content).digest() == hashlib.sha256(LARGE).digest()


@pytest.mark.parametrize(
    ("wanted", "part", "told"),
    [
        ("bytes=0-9", PNG[:10], "bytes 0-9/2560"),
        ("bytes=2550-", PNG[2550:], "bytes 2550-2559/2560"),
        ("bytes=-5", PNG[-5:], "bytes 2555-2559/2560"),
        ("bytes=100-99999", PNG[100:], "bytes 100-2559/2560"),
        ("bytes=-99999", PNG, "bytes 0-2559/2560"),
    ],
)
def test_a_part_is_given(make: Make, guest: Tenant, wanted: str, part: bytes, told: str) -> None:
    path = make(image=("image/png", PNG))

    answer = guest.get(f"{path}/0", headers={"Range": wanted})

    assert (answer.status_code, answer.content) == (206, part)
    assert answer.headers["content-range"] == told
    assert answer.headers["content-length"] == str(len(part))


def test_a_part_that_is_not_there_is_refused(make: Make, guest: Tenant) -> None:
    path = make(image=("image/png", PNG))

    answer = guest.get(f"{path}/0", headers={"Range": "bytes=2560-"})

    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")
    assert answer.headers["content-range"] == "bytes */2560"


def test_an_artifact_is_sent_once_and_resumed_only_if_it_is_the_same(make: Make, guest: Tenant) -> None:
    path = make(image=("image/png", PNG), audio=("audio/wav", PNG))
    etag = guest.get(f"{path}/0").headers["etag"]

    known = guest.get(f"{path}/0", headers={"If-None-Match": etag})
    other = guest.get(f"{path}/1", headers={"If-None-Match": etag})
    resumed = guest.get(f"{path}/0", headers={"Range": "bytes=1-1", "If-Range": etag})
    changed = guest.get(f"{path}/0", headers={"Range": "bytes=1-1", "If-Range": '"old"'})

    assert [answer.status_code for answer in (known, other, resumed, changed)] == [304, 200, 206, 200]


@pytest.mark.parametrize(
    ("mime_type", "shown_as", "disposition"),
    [
        ("text/html", "text/html", "attachment"),
        ("image/svg+xml", "image/svg+xml", "attachment"),
        ("application/pdf", "application/pdf", "attachment"),
        ("audio/wav", "audio/wav", "inline"),
        ("audio/L16;rate=24000;channels=1", "audio/l16;rate=24000;channels=1", "inline"),
        ('Text/CSV; header="present"', "text/csv;header=present; charset=utf-8", "attachment"),
        ("audio/ogg_opus", "audio/ogg_opus", "inline"),
        ("video/mp4; x", "video/mp4", "inline"),
        ("image/png\r\nX-Evil: 1", "application/octet-stream", "attachment"),
        ("nonsense", "application/octet-stream", "attachment"),
    ],
)
def test_what_may_hold_script_is_saved_and_not_shown(
    make: Make, guest: Tenant, mime_type: str, shown_as: str, disposition: str
) -> None:
    path = make(document=(mime_type, b"<script>"))
    guest.http.event_hooks = {}

    answer = guest.get(f"{path}/0")

    assert answer.headers["content-type"].removesuffix("; charset=utf-8") == shown_as.removesuffix("; charset=utf-8")
    assert answer.headers["content-disposition"].startswith(disposition)
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("number", ["1", "-1", "x", "00", "%2e%2e"])
def test_an_unknown_artifact_is_not_found(make: Make, guest: Tenant, number: str) -> None:
    path = make(image=("image/png", PNG))

    assert guest.get(f"{path}/{number}").status_code == 404


def test_a_running_job_has_no_artifact_yet(guest: Tenant) -> None:
    assert guest.get(f"/v1/jobs/{guest.submit()['id']}/artifacts/0").status_code == 404


def test_the_head_of_an_artifact_tells_its_size(make: Make, guest: Tenant) -> None:
    path = make(video=("video/mp4", LARGE))

    answer = guest.http.head(f"{path}/0")

    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(LARGE))


@pytest.mark.parametrize(
    ("mime_type", "ending"),
    [
        ("image/jpeg", ".jpg"),
        ("image/webp", ".webp"),
        ("audio/mp3", ".mp3"),
        ("audio/L16;rate=24000", ".pcm"),
        ("video/mp4", ".mp4"),
        ("video/mov", ".mov"),
        ("application/pdf", ".pdf"),
        ("text/csv", ".csv"),
        ("x/y", ".bin"),
    ],
)
def test_a_file_is_named_by_its_type(make: Make, guest: Tenant, mime_type: str, ending: str) -> None:
    path = make(document=(mime_type, PNG))
    guest.http.event_hooks = {}

    name = guest.get(f"{path}/0").headers["content-disposition"].partition("filename=")[2]

    assert name == f'"{path.split("/")[3]}-0{ending}"'


@pytest.mark.parametrize(
    ("mime_type", "rate", "channels"),
    [
        ("audio/L16;codec=pcm;rate=16000;channels=2", 16_000, 2),
        ("audio/l16", 24_000, 1),
        ("audio/L16;rate=x", 24_000, 1),
    ],
)
def test_raw_sound_can_be_had_as_wav(make: Make, guest: Tenant, mime_type: str, rate: int, channels: int) -> None:
    path = make(audio=(mime_type, LARGE))
    guest.http.event_hooks = {}

    raw, playable = guest.get(f"{path}/0"), guest.get(f"{path}/0?format=wav")

    assert raw.content == LARGE
    assert playable.headers["content-type"] == "audio/wav"
    assert playable.headers["content-disposition"].endswith('-0.wav"')
    assert playable.headers["content-length"] == str(len(LARGE) + 44)
    assert playable.headers["etag"] != raw.headers["etag"]
    with wave.open(io.BytesIO(playable.content)) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (rate, channels, 2)
        assert sound.readframes(len(LARGE)) == LARGE


@pytest.mark.parametrize("wanted", ["bytes=0-9", "bytes=40-49", "bytes=44-1000043", "bytes=-5", "bytes=2400000-"])
def test_parts_of_a_wav_made_of_raw_sound_fit_together(make: Make, guest: Tenant, wanted: str) -> None:
    path = make(audio=("audio/L16;rate=24000", LARGE))
    guest.http.event_hooks = {}
    whole = guest.get(f"{path}/0?format=wav").content

    part = guest.get(f"{path}/0?format=wav", headers={"Range": wanted})

    first, last = part.headers["content-range"].removeprefix("bytes ").partition("/")[0].split("-")
    assert part.status_code == 206
    assert part.content == whole[int(first) : int(last) + 1]


def test_nothing_else_can_be_had_as_wav(make: Make, guest: Tenant) -> None:
    path = make(image=("image/png", PNG))

    answers = [guest.get(f"{path}/0?format={name}") for name in ("wav", "mp3")]

    assert [(answer.status_code, answer.json()["errors"][0]["pointer"]) for answer in answers] == [(422, "/format")] * 2


def test_the_head_of_an_artifact_knows_no_parts(make: Make, guest: Tenant) -> None:
    path = make(image=("image/png", PNG))

    answer = guest.http.head(f"{path}/0", headers={"Range": "bytes=0-9"})

    assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(PNG)))
    assert "content-range" not in answer.headers


def completed(guest: Tenant, local: Worker, **output: Any) -> str:
    job_id = guest.submit()["id"]
    local.complete(job_id, **output)
    return f"/v1/jobs/{job_id}/report"


def test_a_report_is_markdown_with_footnotes(guest: Tenant, local: Worker) -> None:
    citations = [
        {"url": "https://a.example/", "title": "A [1]", "start_index": 0, "end_index": 4},
        {"url": "https://b.example/(x)", "title": None, "start_index": 5, "end_index": 10},
        {"url": "https://a.example/", "title": "A", "start_index": 5, "end_index": 10},
    ]
    path = completed(guest, local, output_text="Süß. Sauer.", citations=citations)

    answer = guest.get(path)

    assert answer.headers["content-type"].startswith("text/markdown")
    assert answer.text == (
        "Süß.[^1] Sauer[^1][^2].\n\n"
        "[^1]: [A \\[1\\]](https://a.example/)\n[^2]: [https://b.example/\\(x\\)](https://b.example/%28x%29)\n"
    )


def test_a_report_is_html_for_a_browser(guest: Tenant, local: Worker) -> None:
    text = "# Title\n\n<script>alert(1)</script> [x](javascript:alert(1)) ![t](https://evil.example/t.png) **bold**"
    citations = [{"url": 'https://a.example/?q="><script>', "title": "<b>A</b>", "start_index": 0, "end_index": 7}]
    path = completed(guest, local, output_text=text, citations=citations)

    answer = guest.get(path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})

    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "<strong>bold</strong>" in answer.text
    assert '<a href="#source-1"' in answer.text
    assert 'id="source-1"' in answer.text
    assert "<script" not in answer.text.partition("<body>")[2]
    assert 'href="javascript' not in answer.text
    assert "evil.example" not in answer.text


def test_a_report_links_its_artifacts(make: Make, guest: Tenant) -> None:
    path = make(image=("image/png", PNG), audio=("audio/wav", PNG))
    report = path.replace("/artifacts", "/report")

    markdown = guest.get(report).text
    html = guest.get(report, headers={"Accept": "text/html"}).text

    assert f"![image 0]({path}/0)" in markdown
    assert f"[audio 1 (audio/wav)]({path}/1)" in markdown
    data = b64encode(PNG).decode()
    assert f'<img src="data:image/png;base64,{data}"' in html
    assert f'<a href="{path}/1"' in html


def test_a_picture_that_is_gone_is_linked_from_the_page(sqlite_server: Server, make: Make, guest: Tenant) -> None:
    path = make(image=("image/png", PNG), document=("application/pdf", PNG))
    (sqlite_server.context.settings.data_dir / "artifacts" / path.split("/")[3] / "1.1" / "0").unlink()

    html = guest.get(path.replace("/artifacts", "/report"), headers={"Accept": "text/html"}).text

    assert f'<img src="{path}/0"' in html
    assert f'<a href="{path}/1"' in html
    assert guest.get(f"{path}/0").status_code == 404


def test_an_artifact_in_the_text_is_linked_there(guest: Tenant, local: Worker) -> None:
    url = "/v1/jobs/x/artifacts/0"
    artifact = {"id": 0, "kind": "image", "mime_type": "image/png", "size": 1, "url": url}
    path = completed(guest, local, output_text="Before ![image](artifact:0) after", artifacts=[artifact])

    assert guest.get(path).text == f"Before ![image]({url}) after\n"


@pytest.mark.parametrize("status", ["queued", "failed"])
def test_a_job_without_output_has_no_report(guest: Tenant, local: Worker, status: str) -> None:
    job_id = guest.submit()["id"]
    if status == "failed":
        local.fail(job_id)

    answer = guest.get(f"/v1/jobs/{job_id}/report")

    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert status in answer.json()["detail"]
