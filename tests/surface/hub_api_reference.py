"""Write ``docs/reference/hub-api.md`` from the OpenAPI description of the administration API: ``make docs``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vnedoc.exchange.hub.admin import PATH as API_PATH
from vnedoc.exchange.hub.admin import describe

PATH = Path(__file__).parents[2] / "docs" / "reference" / "hub-api.md"
HEAD = f"""\
# The administration API of a hub

Made from its OpenAPI 3.1 description by `make docs`. A hub serves the same description, for clients and generators,
at `{API_PATH}/openapi.json`. It is vnedoc's own API for whoever runs a hub; agencies talk to a hub by the wires of
the axes. All paths below begin with `{API_PATH}`.

## Calling it

```console
$ vnedoc hub token add "backup of the province" --role viewer --days 365
$ curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8290{API_PATH}/v1/stats
```

The API is on the port for administration alone (`--admin-port`, here 8290), never on that of the wires.

- **Who.** Every call takes `Authorization: Bearer` with a token of `vnedoc hub token add`; never a cookie, so that
  no page in a browser can call in somebody's name. A *viewer* looks, an *operator* tries deliveries again too, an
  *admin* may do everything. More than ten wrong tokens in a minute from one address are answered with 429 and
  `Retry-After`; a right token gets in all the same. The count is per process of the hub.
- **Refusals** are problem details (RFC 9457, `application/problem+json`): `status`, a sentence in `detail` in the
  language of `Accept-Language` (vi or en), a stable `code`, sometimes a `hint`, and `errors` with the wrong fields.
  What was sent is never repeated. A query parameter that a call does not know is refused: a mistyped filter would
  filter nothing.
- **Two administrators.** Systems and agencies have an `ETag`. A change takes it in `If-Match`: without it 428, and
  412 if somebody else was quicker. `If-Match: *` takes any version.
- **Once.** Calls that create take `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07), a name of up to
  255 characters such as a UUID. The same call again within 24 hours, with the same token, gets the first answer
  again, with `Idempotent-Replayed: true`; another call under the same key is 422. The change and its answer are
  written in one transaction. A call that comes while the first is still at work waits for it; the draft would have
  it answered with 409.
- **Secrets.** The secret of a system and a token are in the answer to the call that made them, and nowhere else.
  The hub keeps SHA-256 of each, that of a secret sealed (AES-256-GCM) with a key that is not in the database. A
  secret that is brought along has 65 to 256 characters: of a shorter one HMAC needs more than the hash.
  The answer that an `Idempotency-Key` repeats is kept sealed, too, for a day.
- **Pages.** Lists have `next`; give it as `after` for the next page. It is null on the last.
- **Sizes.** Bodies are at most 256 KiB, a directory for import 64 MiB.
"""


def render() -> str:
    """Return the page."""
    document = describe()
    parts = [HEAD, "## Calls\n"]
    for path, methods in document["paths"].items():
        for method, call in methods.items():
            parts.append(_call(path, method, call))
    parts.append("## What is sent and answered\n")
    schemas = document["components"]["schemas"]
    parts += [_schema(name, schemas[name]) for name in sorted(schemas)]
    return "\n".join(parts)


def _call(path: str, method: str, call: dict[str, Any]) -> str:
    lines = [f"### {method.upper()} {path}\n", call["description"] + "\n"]
    parameters = call.get("parameters", [])
    if parameters:
        lines += ["| Parameter | In | Type | What |", "|---|---|---|---|"]
        for item in parameters:
            what = item.get("description", "").replace("\n", " ")
            lines.append(f"| `{item['name']}` | {item['in']} | {_type(item['schema'])} | {what} |")
        lines.append("")
    if "requestBody" in call:
        lines.append(f"Body: {_type(call['requestBody']['content']['application/json']['schema'])}\n")
    answers = []
    for status, answer in sorted(call["responses"].items()):
        if status.startswith("2"):
            schema = answer.get("content", {}).get("application/json", {}).get("schema")
            answers.append(f"`{status}`" + (f" {_type(schema)}" if schema else ""))
        else:
            answers.append(f"`{status}`")
    lines.append(f"Answers: {', '.join(answers)}\n")
    return "\n".join(lines)


def _schema(name: str, schema: dict[str, Any]) -> str:
    lines = [f"### {name}\n", schema.get("description", "") + "\n"]
    if "enum" in schema:
        lines.append("One of " + ", ".join(f"`{value}`" for value in schema["enum"]) + ".\n")
    if "properties" in schema:
        lines += ["| Field | Type | What |", "|---|---|---|"]
        required = schema.get("required", [])
        for field, kind in schema["properties"].items():
            optional = "" if field in required else ", optional"
            what = kind.get("description", "").replace("\n", " ")
            lines.append(f"| `{field}` | {_type(kind)}{optional} | {what} |")
        lines.append("")
    return "\n".join(lines)


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(item) for item in schema["anyOf"])
    if schema.get("type") == "array":
        count = f" of at most {schema['maxItems']}:" if "maxItems" in schema else " of"
        return f"list{count} {_type(schema['items'])}"
    limits = [
        form.format(schema[key])
        for key, form in (
            ("minimum", "from {}"),
            ("maximum", "to {}"),
            ("maxLength", "at most {} characters"),
        )
        if key in schema
    ]
    kind = schema.get("format") or schema.get("type", "any")
    return f"{kind} ({' '.join(limits)})" if limits else str(kind)


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
