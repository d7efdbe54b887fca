"""Uploads over real HTTP to the simulator's Files API: what is passed on, what is refused, and that nothing is left."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from tests.conftest import MakeSettings
from tests.integration.api.serving import Server, Tenant, prepared, serving
from tests.waiting import eventually
from worker.dev.simulator import Control, Options, SimulatorServer
from worker.models import Holding

MIB = 1024 * 1024
MOST = 40 * MIB
PDF = {"file": ("report.pdf", b"%PDF-1.7 what nobody may log", "application/pdf")}
BOUNDARY = "frontier"
TYPED = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


@pytest.fixture(scope="module")
def files_api() -> Iterator[SimulatorServer]:
    with SimulatorServer(Options(speed=10)) as upstream:
        yield upstream


@pytest.fixture(scope="module")
def filing(
    files_api: SimulatorServer, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Server]:
    """An application whose upstream is the simulator, with a small limit for files."""
    folder: Path = tmp_path_factory.mktemp("files")
    (folder / "nightdesk.db").write_bytes(request.getfixturevalue("sqlite_template").read_bytes())
    limits = {"max_file_bytes": MOST, "max_uploads": 2, "upload_timeout_s": 90}
    with serving(prepared(data_dir=folder, gemini_base_url=files_api.url, **limits)) as server:
        yield server


@pytest.fixture
def sender(filing: Server, files_api: SimulatorServer) -> Tenant:
    """A project that uploads; upstream there is nothing yet."""
    files_api.control.reset()
    return filing.tenant()


@pytest.fixture
def control(files_api: SimulatorServer) -> Control:
    return files_api.control


def upload(who: Tenant, **more: Any) -> httpx2.Response:
    return who.http.post("/v1/files", **({"files": PDF} | more))


def part(content: bytes = b"x", name: str = "file", **headers: str) -> bytes:
    given = {"Content-Disposition": f'form-data; name="{name}"; filename="a.txt"', "Content-Type": "text/plain"}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
    return f"--{BOUNDARY}\r\n{lines}\r\n".encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()


def sent(who: Tenant, *parts: bytes, **headers: str) -> httpx2.Response:
    return who.http.post("/v1/files", content=b"".join(parts), headers=TYPED | headers)


def test_a_file_is_passed_on_and_answered_with_its_uri(sender: Tenant, control: Control) -> None:
    answer = upload(sender)

    (kept,) = control.files()["files"]
    shown = answer.json()
    assert answer.status_code == 201
    assert (
        shown.items() >= {"uri": kept["uri"], "name": kept["name"], "mime_type": "application/pdf", "size": 28}.items()
    )
    assert datetime.fromisoformat(shown["expires_at"]) == datetime.fromisoformat(kept["expirationTime"])
    assert (kept["displayName"], kept["sha256Hash"]) == ("report.pdf", sha256(PDF["file"][1]).hexdigest())


@pytest.mark.parametrize("size", [1, 8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 24 * MIB + 5])
def test_a_file_of_any_size_arrives_whole(sender: Tenant, control: Control, size: int) -> None:
    content = (bytes(range(251)) * (size // 251 + 1))[:size]

    answer = upload(sender, files={"file": ("a.bin", content, "application/x-thing")})

    (kept,) = control.files()["files"]
    assert (answer.json()["size"], kept["sha256Hash"]) == (size, sha256(content).hexdigest())
    assert control.files()["under_way"] == 0


def test_a_body_of_unknown_length_is_taken(sender: Tenant, control: Control) -> None:
    def body() -> Iterator[bytes]:
        yield part(b"piece by piece")[:-2]
        yield b" and to the end\r\n"
        yield END

    answer = sender.http.post("/v1/files", content=body(), headers=TYPED)

    assert (answer.status_code, control.files()["files"][0]["sizeBytes"]) == (201, "29")


def test_a_file_that_looks_like_a_boundary_arrives_whole(sender: Tenant, control: Control) -> None:
    content = b"\r\n--frontie\r\n--\r\n--frontierless\r\n" * 1000

    sent(sender, part(content), END)

    assert control.files()["files"][0]["sha256Hash"] == sha256(content).hexdigest()


def test_a_video_is_answered_when_it_can_be_used(sender: Tenant, control: Control) -> None:
    upload(sender, files={"file": ("a.mp4", b"moving", "video/mp4")})

    assert control.files()["files"][0]["state"] == "ACTIVE"


@pytest.mark.parametrize(
    ("filename", "told", "mime_type"),
    [
        ("a.txt", "TEXT/Plain; charset=utf-8", "text/plain"),
        ("photo.png", "application/octet-stream", "image/png"),
        ("photo.jpeg", None, "image/jpeg"),
        ("noname", "audio/l16", "audio/l16"),
    ],
)
def test_the_type_is_what_the_part_or_its_name_tells(
    sender: Tenant, filename: str, told: str | None, mime_type: str
) -> None:
    disposition = f'form-data; name="file"; filename="{filename}"'

    answer = sent(sender, part(Content_Disposition=disposition, Content_Type=told or ""), END)

    assert (answer.status_code, answer.json()["mime_type"]) == (201, mime_type)


@pytest.mark.parametrize(
    ("filename", "shown"),
    [
        ("../../etc/passwd.txt", "passwd.txt"),
        ("C:\\\\Users\\\\me\\\\plan.txt", "plan.txt"),
        ("größe \u202egnp.txt", "größe gnp.txt"),
        ("a" * 500 + ".txt", "a" * 200),
    ],
)
def test_the_name_shown_is_tidy(sender: Tenant, control: Control, filename: str, shown: str) -> None:
    disposition = f'form-data; name="file"; filename="{filename}"'

    sent(sender, part(Content_Disposition=disposition), END)

    assert control.files()["files"][0]["displayName"] == shown


REFUSED: dict[str, tuple[bytes, int, str]] = {
    "no part at all": (END, 422, "/file"),
    "another field": (part(name="purpose") + END, 422, ""),
    "two files": (part() + part() + END, 422, "/file"),
    "an empty file": (part(b"") + END, 422, "/file"),
    "an unknown type": (part(Content_Type="what is this") + END, 422, "/file"),
    "a type that would split a header": (part(Content_Type="text/plain\x00x") + END, 422, "/file"),
    "no type and a name that tells none": (
        part(Content_Type="", Content_Disposition='form-data; name="file"; filename="x"') + END,
        422,
        "/file",
    ),
    "a part that is encoded": (part(Content_Transfer_Encoding="base64") + END, 422, "/file"),
    "no name": (part(Content_Disposition="form-data") + END, 400, ""),
    "another disposition": (part(Content_Disposition='attachment; name="file"') + END, 400, ""),
    "a header twice": (part(content_type="text/html") + END, 400, ""),
    "too many headers": (part(b"x", "file", **{f"x{n}": "y" for n in range(50)}) + END, 400, ""),
    "a long header": (part(X_Long="y" * 9000) + END, 400, ""),
    "no end": (part(), 400, ""),
    "an end in the middle of a header": (f"--{BOUNDARY}\r\nContent-Dis".encode(), 400, ""),
    "no multipart": (b"just bytes", 400, ""),
    "nothing": (b"", 400, ""),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_form_with_one_file_is_refused_and_never_begun(sender: Tenant, control: Control, what: str) -> None:
    body, status, pointer = REFUSED[what]

    answer = sent(sender, body)

    assert answer.status_code == status, answer.text
    assert [fault["pointer"] for fault in answer.json().get("errors", [])] == ([pointer] if status == 422 else [])
    assert "upload" not in control.stats()["calls"] or control.files() == {"under_way": 0, "files": []}


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": "multipart/form-data"},
        {"Content-Type": "multipart/form-data; boundary="},
        {"Content-Type": f"multipart/form-data; boundary={'b' * 71}"},
        {"Content-Type": f"multipart/mixed; boundary={BOUNDARY}"},
        {"Content-Encoding": "gzip"},
    ],
)
def test_a_body_of_another_kind_is_refused(sender: Tenant, headers: dict[str, str]) -> None:
    answer = sent(sender, part(), END, **headers)

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_a_fault_after_the_first_pieces_leaves_nothing_upstream(sender: Tenant, control: Control) -> None:
    answer = sent(sender, part(b"x" * 9 * MIB), part(), END)

    assert answer.status_code == 422
    assert control.stats()["calls"]["upload"]
    eventually(lambda: control.files() == {"under_way": 0, "files": []})


def test_a_file_over_the_limit_is_refused_whether_or_not_it_is_announced(sender: Tenant, control: Control) -> None:
    announced = sent(sender, part(b"x" * (MOST + MIB)), END)

    def body() -> Iterator[bytes]:
        yield part()[:-2]
        for _ in range(MOST // MIB):
            yield b"x" * MIB
        yield b"\r\n" + END

    streamed = sender.http.post("/v1/files", content=body(), headers=TYPED)

    assert [(answer.status_code, answer.json()["code"]) for answer in (announced, streamed)] == [
        (413, "payload_too_large")
    ] * 2
    eventually(lambda: control.files() == {"under_way": 0, "files": []})


def test_other_paths_keep_their_own_limit(filing: Server, sender: Tenant) -> None:
    body = b"x" * (filing.context.settings.max_body_bytes + 1)

    answer = sender.http.post("/v1/jobs", content=body)

    assert answer.status_code == 413


def test_a_client_that_goes_away_leaves_nothing_upstream(filing: Server, sender: Tenant, control: Control) -> None:
    host, port = filing.url.removeprefix("http://").split(":")
    head = (
        f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {sender.token}\r\nContent-Length: {20 * MIB}\r\n"
    )
    head += f"Content-Type: {TYPED['Content-Type']}\r\n\r\n"

    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + part(b"x" * 9 * MIB))
        eventually(lambda: control.files()["under_way"] == 1)

    eventually(lambda: control.files() == {"under_way": 0, "files": []})
    eventually(lambda: filing.desk.uploads.open == 0)


def test_only_so_many_are_under_way_at_once(filing: Server, sender: Tenant) -> None:
    with filing.desk.uploads.place("prj_1"), filing.desk.uploads.place("prj_2"):
        refused = upload(sender)
    taken = upload(sender)

    assert (refused.status_code, refused.json()["code"], refused.headers["ratelimit-limit"]) == (
        429,
        "rate_limited",
        "2",
    )
    assert taken.status_code == 201
    eventually(lambda: filing.desk.uploads.open == 0)


def test_one_project_leaves_places_to_the_others(filing: Server, sender: Tenant) -> None:
    with filing.desk.uploads.place(sender.project_id):
        refused, taken = upload(sender), upload(filing.tenant())

    assert (refused.status_code, refused.headers["ratelimit-limit"]) == (429, "1")
    assert "for this project" in refused.json()["detail"]
    assert taken.status_code == 201
    assert upload(sender).status_code == 201


def test_a_slow_client_is_cut_off_in_time(own_settings: MakeSettings, files_api: SimulatorServer) -> None:
    with serving(own_settings(gemini_base_url=files_api.url, upload_timeout_s=0.3)) as server:
        tenant = server.tenant()
        host, port = server.url.removeprefix("http://").split(":")
        head = f"POST /v1/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {tenant.token}\r\nContent-Length: 999\r\n"

        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(f"{head}Content-Type: {TYPED['Content-Type']}\r\n\r\n".encode() + part())
            answer = b""
            while b"}" not in answer:
                piece = connection.recv(64 * 1024)
                assert piece, f"the connection ended after {answer!r}"
                answer += piece

        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"was not here within 0.3 seconds" in answer


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"status": 400}, 422, "invalid_request"),
        ({"status": 413}, 422, "invalid_request"),
        ({"status": 401}, 503, "unavailable"),
        ({"status": 403}, 503, "unavailable"),
        ({"status": 429}, 503, "unavailable"),
        ({"status": 500}, 503, "unavailable"),
        ({"status": 503}, 503, "unavailable"),
        ({"kind": "html"}, 503, "unavailable"),
        ({"kind": "lost"}, 503, "unavailable"),
        ({"kind": "reset"}, 503, "unavailable"),
        ({"kind": "broken"}, 503, "unavailable"),
    ],
)
@pytest.mark.parametrize("command", ["start", "upload", "upload, finalize"])
def test_trouble_upstream_is_told_and_nothing_is_held(  # noqa: PLR0917
    filing: Server, sender: Tenant, control: Control, command: str, fault: dict[str, Any], status: int, code: str
) -> None:
    control.fault("upload", prompt=command, **fault)

    answer = upload(sender, files={"file": ("a.txt", b"x" * 9 * MIB, "text/plain")})

    with filing.context.database.read() as session:
        held = session.scalars(sa.select(Holding).where(sa.text("project_id = :it")), {"it": sender.project_id}).all()
    assert (answer.status_code, answer.json()["code"], held) == (status, code, [])


def test_the_file_is_its_projects_until_it_is_gone(filing: Server, sender: Tenant) -> None:
    uri, other = upload(sender).json()["uri"], filing.tenant("jobs:write")
    body = {"model": "gemini-3.8-flash", "input": [{"type": "document", "uri": uri, "mime_type": "application/pdf"}]}

    mine, theirs, nobodys = (
        sender.post("/v1/jobs", body),
        other.post("/v1/jobs", body),
        other.post("/v1/jobs", {**body, "input": [{"type": "document", "uri": uri + "x"}]}),
    )

    assert mine.status_code == 202
    assert theirs.json()["errors"] == nobodys.json()["errors"]
    assert [fault["pointer"] for fault in theirs.json()["errors"]] == ["/input/0/uri"]
    with filing.context.database.read() as session:
        held = session.get_one(Holding, "/".join(uri.split("/")[-2:]))
    assert (held.kind, held.project_id) == ("file", sender.project_id)
    assert timedelta(hours=47) < held.expires_at - datetime.now(UTC) < timedelta(hours=49)


def test_a_key_without_the_scope_or_none_uploads_nothing(filing: Server, sender: Tenant, control: Control) -> None:
    reader, nobody = filing.key(sender.project_id, "jobs:read"), filing.client()

    assert [upload(reader).status_code, nobody.post("/v1/files", files=PDF).status_code] == [403, 401]
    assert control.files() == {"under_way": 0, "files": []}


def test_nothing_of_a_file_is_said_in_the_log(sender: Tenant, capfd: pytest.CaptureFixture[str]) -> None:
    upload(sender)
    sent(sender, b"--frontier\r\nwhat nobody may log")

    captured = capfd.readouterr()
    said = captured.out + captured.err

    assert not any(word in said for word in ("what nobody", "report.pdf", "frontier"))
