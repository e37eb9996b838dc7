"""What the operating system, TLS and parsers say is told in the language of the sentence around it."""

import ast
import errno
import json
import os
import socket
import ssl
import threading
import tomllib
from pathlib import Path

import httpx2
import pytest

import vnedoc
from tests.tls import Authority
from vnedoc import messages
from vnedoc._internal import http, xml
from vnedoc.agencies.imports import read_agencies
from vnedoc.errors import ConfigurationError, InputError, RemoteError
from vnedoc.messages.reasons import recognized
from vnedoc.sign.report import Finding


def told(words, language="vi"):
    """The words inside a sentence."""
    sentence = messages.text("file.cannot-read", language, path="TEST", reason=words)
    frame = messages.text("file.cannot-read", language, path="TEST", reason="\0")
    before, _, after = frame.partition("\0")
    assert sentence.startswith(before)
    assert sentence.endswith(after)
    return sentence[len(before) : len(sentence) - len(after)]


# The operating system


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOENT, "không có tệp hoặc thư mục này"),
        (errno.EACCES, "không đủ quyền truy cập"),
        (errno.ENOSPC, "ổ đĩa đã đầy"),
        (errno.EISDIR, "đây là thư mục, không phải là tệp"),
        (errno.ENOTDIR, "trên đường dẫn có phần không phải là thư mục"),
        (errno.EROFS, "hệ thống tệp chỉ cho đọc"),
        (errno.EEXIST, "tệp hoặc thư mục này đã có"),
        (errno.ECONNREFUSED, "máy chủ từ chối kết nối"),
        (errno.ETIMEDOUT, "hết thời gian chờ"),
        (errno.EHOSTUNREACH, "không có đường tới máy chủ"),
    ],
)
def test_reasons_of_the_system(number, expected):
    words = os.strerror(number)
    assert told(words) == expected
    assert told(OSError(number, words)) == expected
    assert told(f"[Errno {number}] {words}") == expected
    assert told(words, "en") == words


def test_a_reason_with_the_name_of_a_file(tmp_path):
    with pytest.raises(OSError, match="No such file") as caught:
        (tmp_path / "none").open()
    path = repr(str(tmp_path / "none"))
    assert told(str(caught.value)) == f"không có tệp hoặc thư mục này: {path}"
    assert told(str(caught.value), "en") == f"No such file or directory: {path}"


def test_errors_and_findings_are_told_late():
    """Values stay what they were, so that who stored them can tell them in another language."""
    error = InputError("file.cannot-read", path="a.pdf", reason=os.strerror(errno.EACCES))
    assert error.values["reason"] == "Permission denied"
    assert error.text("vi") == "Không đọc được tệp a.pdf: không đủ quyền truy cập."
    assert str(error) == "The file a.pdf cannot be read: Permission denied."
    finding = Finding(error.code, dict(error.values))
    assert finding.text("vi") == error.text("vi")


# The network


def reason_of(url, **options):
    with http.make_client(**options) as client, pytest.raises(RemoteError) as caught:
        http.post_bytes(client, url, b"", headers={})
    return caught.value


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/"
    assert reason_of(url).text("vi") == f"Không kết nối được tới {url} (máy chủ từ chối kết nối)."


def test_a_server_that_hangs_up():
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            connection, _ = server.accept()
            connection.recv(4096)
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        text = reason_of(f"http://127.0.0.1:{server.getsockname()[1]}/").text("vi")
        thread.join()
    assert "máy chủ ngắt kết nối" in text


@pytest.mark.parametrize("number", [socket.EAI_NONAME, socket.EAI_AGAIN])
def test_names_that_are_not_resolved(number):
    words = {socket.EAI_NONAME: "Name or service not known"}.get(
        number, "Temporary failure in name resolution"
    )
    assert told(str(httpx2.ConnectError(f"[Errno {number}] {words}"))) in {
        "không tìm thấy tên máy chủ",
        "tạm thời không tra được tên máy chủ",
    }


@pytest.fixture(scope="module")
def authorities(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    return Authority(folder, "ours"), Authority(folder, "theirs")


def handshake(context, certificate, *, name="127.0.0.1"):
    """Return what TLS says when a client with this context meets a server with this certificate."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*certificate)
    near, far = socket.socketpair()

    def serve():
        try:
            server.wrap_socket(far, server_side=True).close()
        except OSError:
            far.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with pytest.raises(ssl.SSLError) as caught:
            context.wrap_socket(near, server_hostname=name)
    finally:
        near.close()
        thread.join()
    return str(caught.value)


def test_certificates_of_servers(authorities):
    ours, theirs = authorities
    certificate = theirs.issue("server")
    words = handshake(http.make_tls_context(authorities=ours.certificate), certificate)
    assert told(words) == "chứng thư của máy chủ không do tổ chức được tin cậy cấp"
    words = handshake(http.make_tls_context(authorities=theirs.certificate), certificate, name="truc.example")
    assert told(words) == "chứng thư của máy chủ không cấp cho “truc.example”"


def test_files_that_hold_no_certificate(tmp_path):
    path = tmp_path / "none.pem"
    path.write_text("TEST")
    with pytest.raises(ssl.SSLError) as caught:
        http.make_tls_context(authorities=path)
    assert told(str(caught.value)) == "tệp không chứa chứng thư PEM nào"
    with pytest.raises(ssl.SSLError) as caught:
        http.make_tls_context(certificate=path)
    assert told(str(caught.value)) == "tệp không chứa chứng thư hoặc khóa PEM dùng được"


def test_a_server_without_tls(authorities):
    near, far = socket.socketpair()
    far.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with near, far, pytest.raises(ssl.SSLError) as caught:
        http.make_tls_context(authorities=authorities[0].certificate).wrap_socket(
            near, server_hostname="127.0.0.1"
        )
    assert told(str(caught.value)) == "máy chủ không dùng TLS ở cổng này"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("self-signed certificate (_ssl.c:1000)", "chứng thư của máy chủ là chứng thư tự ký"),
        ("certificate has expired (_ssl.c:1000)", "chứng thư của máy chủ đã hết hạn"),
        ("certificate is not yet valid (_ssl.c:1000)", "chứng thư của máy chủ chưa có hiệu lực"),
        (
            "self-signed certificate in certificate chain (_ssl.c:1000)",
            "chứng thư của máy chủ không do tổ chức được tin cậy cấp",
        ),
    ],
)
def test_other_certificates(words, expected):
    assert told(f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {words}") == expected


# Parsers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "thiếu một giá trị JSON (dòng 1, cột 1)"),
        ("[1] 2", "thừa nội dung sau tài liệu JSON (dòng 1, cột 5)"),
        ('{"a":1 "b"}', "thiếu dấu phẩy (dòng 1, cột 8)"),
        ('"x', "chuỗi không có dấu nháy đóng (dòng 1, cột 1)"),
        ('"\\x"', "dấu \\ trong chuỗi không hợp lệ (dòng 1, cột 2)"),
    ],
)
def test_json(text, expected):
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads(text)
    assert told(str(caught.value)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a", "thiếu dấu = sau tên (cuối tài liệu)"),
        ("a=b", "giá trị không hợp lệ (dòng 1, cột 3)"),
        ("a={b=1", "bảng trên một dòng không có dấu } đóng (cuối tài liệu)"),
        ("[a]\n[a]", "bảng 'a' được khai báo hai lần (dòng 2, cột 3)"),
        ("a='\0'", "ký tự '\\x00' không được phép (dòng 1, cột 4)"),
    ],
)
def test_toml(text, expected):
    with pytest.raises(tomllib.TOMLDecodeError) as caught:
        tomllib.loads(text)
    assert told(str(caught.value)) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "tài liệu rỗng (dòng 1, cột 1)"),
        (b"x", "không bắt đầu bằng thẻ XML (dòng 1, cột 1)"),
        (b"<a></b>", "thẻ mở a không khớp với thẻ đóng b (dòng 1, cột 8)"),
        (b"<a/><b/>", "thừa nội dung sau phần tử gốc (dòng 1, cột 5)"),
        (b"<a>&b;</a>", "thực thể b chưa được định nghĩa (dòng 1, cột 7)"),
        (b"<a>&</a>", "ký tự & phải viết là &amp; (dòng 1, cột 5)"),
        (b"<!DOCTYPE a><a/>", "có khai báo DOCTYPE, không được chấp nhận"),
        (b"<x:a/>", "tiền tố x chưa được khai báo không gian tên (dòng 1, cột 5)"),
    ],
)
def test_xml(content, expected):
    with pytest.raises(xml.XMLRefusedError) as caught:
        xml.parse_bytes(content)
    assert told(str(caught.value)) == expected


def test_bytes_that_are_no_text():
    with pytest.raises(UnicodeDecodeError) as caught:
        b"ab\xff".decode()
    assert told(str(caught.value)) == "nội dung không phải là utf-8, từ byte thứ 2"


# What is not known


@pytest.mark.parametrize(
    "words",
    [
        "",
        "something new",
        "line 1 column 2",
        "something new (at line 1, column 2)",
        "[Errno 4711] something new: 'x'",
        "Permission denied\nand more",
        "{path} {reason}",
        "x" * 100_000,
        "(" * 400,
        ": line " * 60,
    ],
)
def test_what_is_not_known_stays_as_it_is(words):
    assert recognized(words) is None
    assert told(words) == words
    assert told(words, "en") == words


def test_a_reason_may_be_a_sentence_or_nothing():
    sentence = messages.Sentence("file.cannot-read", path="a", reason="Permission denied")
    assert sentence.text("vi") == "Không đọc được tệp a: không đủ quyền truy cập."
    assert told(None) == "None"


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("TEST,name\nH99,A\n", "“TEST”"),
        ("organ_id\nH99\n", "thiếu cột"),
        ("organ_id,name\nH99\n", "dòng 2 có số giá trị khác số cột"),
        ("code,name\n,A\n", "dòng 2 thiếu mã hoặc tên"),
        ('{"TEST": 1}', "không có danh sách cơ quan"),
        ('[{"code": "H99"}]', "hàng 1 thiếu mã hoặc tên"),
        ("<TEST/>", "Organization"),
    ],
)
def test_what_is_wrong_with_a_list_of_agencies_is_told_in_vietnamese(table, said, tmp_path):
    path = tmp_path / "TEST"
    path.write_text(table, encoding="utf-8")
    with pytest.raises(ConfigurationError) as caught:
        read_agencies(path)
    assert said in caught.value.text("vi")


# Our own parsers

PARSERS = (
    "_internal/multipart.py",
    "exchange/_soap/envelope.py",
    "exchange/_soap/message.py",
    "exchange/_json_stream.py",
)
PARSE_ERRORS = {"MultipartError", "TooManyPartsError", "EnvelopeError", "AttachmentMismatchError"}


def said_by_parsers():
    """Whatever their sources say when they refuse something, with a number for what varies."""
    for module in PARSERS:
        for node in ast.walk(ast.parse((Path(vnedoc.__file__).parent / module).read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or getattr(node.func, "id", None) not in PARSE_ERRORS:
                continue
            # The one of SOAP names its code first.
            words = node.args[-1]
            if isinstance(words, ast.Constant):
                yield words.value
            elif isinstance(words, ast.JoinedStr):
                pieces = [item.value if isinstance(item, ast.Constant) else "7" for item in words.values]
                yield "".join(pieces)


@pytest.mark.parametrize("words", sorted(set(said_by_parsers())))
def test_what_our_own_parsers_say_is_told_in_both_languages(words):
    assert told(words, "en") == words
    assert told(words) != words
    assert not set(told(words).lower().split()) & {"the", "is", "not", "than", "more", "of", "has"}


def test_the_parsers_were_found():
    assert len(set(said_by_parsers())) > 30


def test_a_storage_whose_keys_are_not_set_names_the_variables():
    said = "Generic S3 error: Error performing PUT http://169.254.169.254/latest/api/token in 2.1s, after 4 retries"
    for language in ("vi", "en"):
        text = messages.text("store.s3-trouble", language, reason=said)
        assert "AWS_ACCESS_KEY_ID" in text
        assert "AWS_SECRET_ACCESS_KEY" in text
        assert "169.254" not in text
