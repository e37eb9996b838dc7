"""Revocation lists on disk: found again while they are good, and never in the way."""

import datetime
from pathlib import Path

import pytest

from tests.levels import asking, verified
from vnedoc.sign._crl_cache import CachingRevocationSource, CRLCache, default_folder
from vnedoc.testing.pki import TestPKI

URL = "http://test.example/a.crl"
NOW = datetime.datetime(2026, 5, 4, 12, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)


def _crl(pki: TestPKI, *, start: datetime.datetime = NOW, life: datetime.timedelta = 8 * HOUR) -> bytes:
    return pki._authorities["state-ca"].crl(start, start + life)


def _put(cache: CRLCache, encoded: bytes, pki: TestPKI, url: str = URL) -> bool:
    return cache.put(url, encoded, issuer=pki.state_ca.certificate)


def test_a_list_is_found_until_its_successor_is_due(pki: TestPKI, tmp_path: Path) -> None:
    cache, encoded = CRLCache(tmp_path / "new" / "folder"), _crl(pki)
    assert cache.get(URL, at=NOW) is None
    assert _put(cache, encoded, pki)
    assert cache.get(URL, at=NOW) == encoded
    assert cache.get("http://test.example/b.crl", at=NOW) is None
    assert cache.get(URL, at=NOW + 8 * HOUR - datetime.timedelta(seconds=1)) == encoded
    assert cache.get(URL, at=NOW + 8 * HOUR) is None
    assert list((tmp_path / "new" / "folder").iterdir()) == [], "what is out of date is taken away"


def test_a_list_that_is_a_day_old_is_fetched_again(pki: TestPKI, tmp_path: Path) -> None:
    cache = CRLCache(tmp_path)
    assert _put(cache, _crl(pki, life=500 * HOUR), pki)
    assert cache.get(URL, at=NOW + 23 * HOUR) is not None
    assert cache.get(URL, at=NOW + 24 * HOUR) is None
    assert cache.get(URL, at=NOW - HOUR) is None, "not before it was made"


def test_a_newer_list_takes_the_place_of_an_older_one(pki: TestPKI, tmp_path: Path) -> None:
    cache = CRLCache(tmp_path)
    newer = _crl(pki, start=NOW + HOUR)
    assert _put(cache, _crl(pki), pki)
    assert _put(cache, newer, pki)
    assert cache.get(URL, at=NOW + 2 * HOUR) == newer
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("case", ["garbage", "other issuer", "forged", "too large"])
def test_what_must_not_be_kept(pki: TestPKI, tmp_path: Path, case: str) -> None:
    encoded = _crl(pki)
    cache = CRLCache(tmp_path, budget_bytes=100 if case == "too large" else 10**6)
    match case:
        case "garbage":
            encoded = b"TEST"
        case "other issuer":
            encoded = pki._authorities["root"].crl(NOW, NOW + HOUR)
        case "forged":
            encoded = encoded[:-1] + bytes([encoded[-1] ^ 1])
    assert not _put(cache, encoded, pki)
    assert list(tmp_path.iterdir()) == []


def test_damage_on_disk_is_a_miss(pki: TestPKI, tmp_path: Path) -> None:
    cache = CRLCache(tmp_path)
    assert _put(cache, _crl(pki), pki)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:50])
    assert cache.get(URL, at=NOW) is None
    assert list(tmp_path.iterdir()) == []
    assert _put(cache, _crl(pki), pki)
    (path,) = tmp_path.iterdir()
    path.rename(path.with_name(path.name.replace("2026", "quite")))
    assert cache.get(URL, at=NOW) is None


def test_the_budget_holds_and_the_least_used_go_first(pki: TestPKI, tmp_path: Path) -> None:
    encoded = _crl(pki)
    cache = CRLCache(tmp_path, budget_bytes=int(2.5 * len(encoded)))
    import os

    for number in range(3):
        assert _put(cache, encoded, pki, url=f"{URL}?{number}")
        for path in tmp_path.iterdir():
            # The clock of the file system may be too coarse to tell the three apart.
            state = path.stat()
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns - 10**9))
        cache.get(f"{URL}?0", at=NOW)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2.5 * len(encoded)
    assert cache.get(f"{URL}?0", at=NOW) is not None, "used all the time"
    assert cache.get(f"{URL}?1", at=NOW) is None
    assert cache.get(f"{URL}?2", at=NOW) is not None


def test_a_folder_that_cannot_be_written_is_no_error(pki: TestPKI, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"TEST")
    cache = CRLCache(tmp_path / "file")
    assert not _put(cache, _crl(pki), pki)
    assert cache.get(URL, at=NOW) is None


def test_the_folder_follows_the_specification(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "vnedoc" / "crl"
    for wrong in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", wrong)
        assert default_folder() == Path.home() / ".cache" / "vnedoc" / "crl"


def _source(folder: Path, *, online: bool = True) -> CachingRevocationSource:
    return CachingRevocationSource(
        CRLCache(folder), allowed_hosts=["127.0.0.1"], online=online, timeout_s=0.5
    )


def test_a_list_is_fetched_once_and_serves_without_a_network(pki: TestPKI, tmp_path: Path) -> None:
    leaf, issuer = pki.leader.certificate, pki.state_ca.certificate
    with pki.services.failing(ocsp="http-500"), _source(tmp_path) as source:
        source.ocsp_for(leaf, issuer)
        fetched = source.crls_for(leaf)
        assert [attempt.problem for attempt in fetched.attempts] == [None]
    with _source(tmp_path, online=False) as source:
        assert source.crls_for(leaf).crls == fetched.crls
    with asking(online=False) as source:
        assert source.crls_for(leaf).crls == ()


def test_a_forged_list_is_handed_on_but_not_kept(pki: TestPKI, tmp_path: Path) -> None:
    leaf = pki.leader.certificate
    with _source(tmp_path) as source:
        # Somebody else's certificate in the place of the issuer: the signature does not fit.
        source.ocsp_for(leaf, pki.root.certificate)
        assert len(source.crls_for(leaf).crls) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_verification_uses_what_is_kept(pki: TestPKI, tmp_path: Path, approved: bytes) -> None:
    with pki.services.failing(ocsp="http-500"), _source(tmp_path) as source:
        assert verified(approved, pki, source=source).signatures[0].revocation.source == "crl"
    with _source(tmp_path, online=False) as source:
        report = verified(approved, pki, source=source).signatures[0]
    assert (report.revocation.status.value, report.revocation.source) == ("good", "crl")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_huge_list_is_refused_with_its_limit(pki: TestPKI, tmp_path: Path) -> None:
    leaf = pki.leader.certificate
    with CachingRevocationSource(
        CRLCache(tmp_path), allowed_hosts=["127.0.0.1"], max_crl_bytes=100
    ) as source:
        source.ocsp_for(leaf, pki.state_ca.certificate)
        found = source.crls_for(leaf)
    assert found.crls == ()
    assert "100" in (found.attempts[0].problem or "")
    assert list(tmp_path.iterdir()) == []
