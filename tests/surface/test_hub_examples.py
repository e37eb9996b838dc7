"""The files of examples/hub say what is true: what reads them finds nothing wrong, and vnedoc knows each word."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from vnedoc._cli.main import cli
from vnedoc.config import load_config
from vnedoc.exchange.hub.configuration import check_hub
from vnedoc.testing.hub import running_hub

FOLDER = Path(__file__).parents[2] / "examples" / "hub"
UNITS = sorted(path.name for path in FOLDER.iterdir() if path.suffix in {".service", ".timer"})


def check_serve(words):
    """Are these options of ``vnedoc hub serve``?"""
    context = cli.make_context("vnedoc", list(words), resilient_parsing=True)
    hub = cli.get_command(context, "hub")
    serve = hub.commands["serve"]
    place = words.index("serve") + 1
    known = {option: parameter for parameter in serve.params for option in parameter.opts}
    options = words[place:]
    while options:
        parameter = known[options.pop(0)]
        parameter.type.convert(options.pop(0), parameter, context)


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("unit", UNITS)
def test_units_are_what_systemd_takes(unit, tmp_path):
    text = (FOLDER / unit).read_text(encoding="utf-8")
    # The programs need not be installed here, nor the accounts be there.
    text = re.sub(r"^(ExecStart=)\S+", r"\1/bin/true", text, flags=re.MULTILINE)
    text = re.sub(r"^(User|Group)=.*\n", "", text, flags=re.MULTILINE)
    path = tmp_path / unit.replace("@.", "@1.")
    path.write_text(text, encoding="utf-8")
    if path.suffix == ".timer":
        shutil.copy(FOLDER / path.with_suffix(".service").name, tmp_path)
        service = tmp_path / path.with_suffix(".service").name
        service.write_text(
            re.sub(r"ExecStart=.*", "ExecStart=/bin/true", service.read_text(encoding="utf-8"))
        )
    outcome = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", path],
        capture_output=True,
        text=True,
        timeout=60,
    )
    complaints = [line for line in outcome.stderr.splitlines() if path.name in line or str(tmp_path) in line]
    assert complaints == []
    assert outcome.returncode == 0, outcome.stderr


def test_the_service_calls_the_hub_as_it_wants_to_be_called():
    [line] = re.findall(
        r"^ExecStart=(.*)$", (FOLDER / "vnedoc-hub@.service").read_text(encoding="utf-8"), re.MULTILINE
    )
    program, *words = shlex.split(line.replace("%i", "1"))
    assert program.endswith("/vnedoc")
    check_serve(words)
    # It is killed only when the hub has had its time.
    config = load_config(FOLDER / "vnedoc.toml", environ={})
    [limit] = re.findall(
        r"^TimeoutStopSec=(\d+)$", (FOLDER / "vnedoc-hub@.service").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert int(limit) > config.hub.drain_s + config.hub.stop_timeout_s


def test_the_settings_are_settings():
    config = load_config(FOLDER / "vnedoc.toml", environ={})
    assert check_hub(config).proxies == ("10.20.0.0/28",)
    assert config.hub.key_file == Path("/etc/vnedoc/hub.key")


def test_the_compose_file_starts_hubs_that_share_everything():
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
    hubs = [service for name, service in compose["services"].items() if name.startswith("hub-")]
    assert len(hubs) == 2
    for hub in hubs:
        assert (FOLDER / hub["build"]["context"] / hub["build"]["dockerfile"]).is_file()
        check_serve(hub["command"])
        assert hub["environment"] == hubs[0]["environment"]
        assert hub["volumes"] == ["packages:/var/lib/vnedoc-hub"]
        assert set(hub["secrets"]) <= set(compose["secrets"])
    # What it copies is there, and the extras are ours.
    steps = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    for names in re.findall(r"^COPY (.*) \S+$", steps, re.MULTILINE):
        for name in names.split():
            assert (FOLDER / "../.." / name).exists(), name
    project = (FOLDER / "../../pyproject.toml").read_text(encoding="utf-8")
    [extras] = re.findall(r"\.\[([\w,]+)\]", steps)
    assert all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras.split(","))


def test_the_balancer_asks_whether_a_process_is_ready_at_the_port_that_says_so():
    text = (FOLDER / "haproxy.cfg").read_text(encoding="utf-8")
    hub = load_config(FOLDER / "vnedoc.toml", environ={}).hub
    # It has turned away from a process before that one closes its door, and names certificates where the hub looks.
    [between, times] = map(int, re.findall(r"inter (\d+)s fall (\d+)", text)[0])
    assert between * times < hub.drain_s
    assert re.findall(r"set-header (\S+) %\[ssl_c_der,sha2\(256\),hex\]", text) == [hub.certificate_header]
    assert "GET /health/ready" in text
    servers = re.findall(r"server \w+ ([\d.]+):828(\d) check port 829(\d)", text)
    assert len(servers) == 4
    assert all(process == admin for _, process, admin in servers)


def test_alerts_are_about_what_the_hub_counts():
    rules = yaml.safe_load((FOLDER / "alerts.yaml").read_text(encoding="utf-8"))["groups"][0]["rules"]
    with running_hub() as hub:
        text = hub.hub.metrics.text().decode()
    known = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    # These are only there with TLS, and with watched certificates.
    known |= {
        "vnedoc_hub_cert_expiry_seconds",
        "vnedoc_hub_client_crl_expiry_seconds",
        "vnedoc_hub_watched_cert_expiry_seconds",
    }
    for rule in rules:
        for name in re.findall(r"vnedoc_hub_\w+", rule["expr"]):
            assert re.sub(r"_bucket$", "", name) in known, name
        assert rule["annotations"]["summary"].endswith(".")
