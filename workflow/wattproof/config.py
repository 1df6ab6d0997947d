"""Campaign configuration: JSON schema, defaults, and messages that a person can act on.

The order of the checks is that of a reader's eye: spelling and types first (schema), then what
the schema cannot know (is there such a search space, meter, data set), so that one clear sentence
names file, key and remedy before any job starts.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from wattproof.errors import WattproofError, did_you_mean

Config = dict[str, Any]


def _resolve(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    target: dict[str, Any] = root
    for part in reference.removeprefix("#/").split("/"):
        target = target[part]
    return {**target, **{k: v for k, v in schema.items() if k != "$ref"}}


def _with_defaults(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> Any:
    schema = _resolve(schema, root)
    if not isinstance(value, dict) or "properties" not in schema:
        return value
    for key, part in schema["properties"].items():
        part = _resolve(part, root)
        if key not in value and "default" in part:
            value[key] = copy.deepcopy(part["default"])
        if key in value:
            value[key] = _with_defaults(value[key], part, root)
    return value


def _type_name(kind: Any) -> str:
    words = {
        "integer": "a whole number",
        "number": "a number",
        "string": "text",
        "boolean": "true or false",
        "object": "a group of keys",
        "array": "a list",
        "null": "null",
    }
    kinds = kind if isinstance(kind, list) else [kind]
    return " or ".join(words.get(k, str(k)) for k in kinds)


def _sentence(error: Any, file: str, prefix: str) -> str:
    """Turn a jsonschema error into one sentence that names file, key and remedy."""
    key = ".".join(filter(None, (prefix, *map(str, error.absolute_path))))
    where = f"{file}: key '{key}'" if key else f"{file}"
    rule, limit, value = error.validator, error.validator_value, error.instance
    if rule == "additionalProperties":
        known = set(error.schema.get("properties", {}))
        unknown = sorted(set(value) - known)
        prefix = f"{key}." if key else ""
        return (
            f"{file}: unknown key '{prefix}{unknown[0]}'.{did_you_mean(unknown[0], known)}"
            " Correct it or remove it."
        )
    if rule == "type":
        return f"{where} must be {_type_name(limit)}, but is {value!r}; correct it."
    if rule == "enum":
        return f"{where} must be one of {', '.join(map(str, limit))}, but is {value!r}."
    if rule == "required":
        missing = [name for name in limit if name not in value]
        prefix = f"{key}." if key else ""
        return f"{file}: key '{prefix}{missing[0]}' is missing; add it."
    comparisons = {
        "minimum": "at least",
        "exclusiveMinimum": "more than",
        "maximum": "at most",
        "exclusiveMaximum": "less than",
    }
    if rule in comparisons:
        return f"{where} must be {comparisons[rule]} {limit}, but is {value!r}; change it."
    if rule == "minProperties":
        return f"{where} must name at least {limit} entry; add one."
    if rule == "pattern":
        return (
            f"{where} is {value!r}; use only letters, digits, '_', '.' and '-', "
            "beginning with a letter or digit."
        )
    return f"{where}: {error.message}."


def load_schema(path: str | Path) -> dict[str, Any]:
    """Read the JSON schema of campaign files."""
    document: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return document


def validate(raw: Config, schema: dict[str, Any], file: str, prefix: str = "") -> Config:
    """Check a campaign, or a part of one, against a JSON schema and fill in the defaults.

    Args:
        raw: The configuration as read from YAML; left unchanged.
        schema: The JSON schema, see `load_schema`.
        file: Name of the file for messages.
        prefix: Key of the part in the campaign, for messages; empty for the whole campaign.

    Returns:
        A new, complete configuration.

    Raises:
        WattproofError: One sentence with file, key and remedy, for the first mistake.
    """
    import jsonschema

    config = copy.deepcopy(dict(raw))
    validator = jsonschema.Draft202012Validator(schema)
    errors = sorted(validator.iter_errors(config), key=lambda e: list(map(str, e.absolute_path)))
    if errors:
        raise WattproofError(_sentence(errors[0], file, prefix))
    complete: Config = _with_defaults(config, schema, schema)
    return complete


def read_yaml(path: str | Path) -> Config:
    """Read a YAML file that must hold a group of keys."""
    import yaml

    try:
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WattproofError(f"{path} does not exist; give the path of a campaign file.") from error
    except yaml.YAMLError as error:
        raise WattproofError(f"{path} is not valid YAML: {error}".replace("\n", " ")) from error
    if not isinstance(document, dict):
        raise WattproofError(
            f"{path} must hold keys and values (lines 'key: value'), but holds "
            f"{'nothing' if document is None else type(document).__name__}."
        )
    return document


def campaign_dir(config: Config) -> Path:
    """Folder of all outputs of a campaign."""
    return Path(config["results"]) / config["campaign"]


def is_offline(config: Config) -> bool:
    """Whether a campaign is made without waiting: on a virtual node in mode ``offline``.

    Args:
        config: A complete campaign.
    """
    node = config["node"]
    return bool(node["kind"] == "virtual" and node["mode"] == "offline")
