"""Agencies whose people work on the command line."""

import json

from vnedoc._cli.main import call

SETTINGS = """
{head}
[agency]
organ_id = "{code}"
organ_name = "CƠ QUAN TEST {code}"

[store]
url = "sqlite:///store.sqlite3"
payload_folder = "payloads"

[connections.TEST]
kind = "vxp"
url = "{url}"
system_id = "TEST.{code}"
secret_env = "{variable}"
timeout_s = 20.0
"""


class CommandOffice:
    """An agency's folder with its settings; runs commands in it."""

    def __init__(self, tmp_path, monkeypatch, capsys, hub, code, *, url=None, head=""):
        self.folder = tmp_path / code
        self.folder.mkdir()
        self.capsys = capsys
        self.secret = hub.add_system(f"TEST.{code}", code)
        variable = f"TEST_SECRET_{code.replace('.', '_')}"
        monkeypatch.setenv(variable, self.secret)
        self.settings = self.folder / "vnedoc.toml"
        text = SETTINGS.format(code=code, url=url or hub.url, variable=variable, head=head)
        self.settings.write_text(text, encoding="utf-8")

    def run(self, *arguments, lang="vi"):
        self.capsys.readouterr()
        code = call(["--config", str(self.settings), "--lang", lang, *map(str, arguments)])
        captured = self.capsys.readouterr()
        assert self.secret not in captured.out + captured.err
        return code, captured.out, captured.err

    def json(self, *arguments):
        code, out, _err = self.run(*arguments, "--format", "json")
        return code, json.loads(out)

    def receive(self, *arguments):
        return self.run("receive", "-d", self.folder / "received", "--unverified", *arguments)
