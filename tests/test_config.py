"""Configurations: TOML to dataclasses, and error messages."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from click.testing import CliRunner

from rmpe.cli import rmpe
from rmpe.config import find_shipped, from_mapping, load_config, shipped_configs, to_mapping
from rmpe.errors import DataError, UsageError


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    steps: tuple[int, ...] = ()


@dataclass(frozen=True)
class Outer:
    name: str
    kind: Literal["a", "b"] = "a"
    inner: Inner = field(default_factory=Inner)
    many: tuple[Inner, ...] = ()
    size: tuple[int, int] = (1, 2)
    path: Path | None = None
    flag: bool = False
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name == "bad":
            raise ValueError("name = bad is refused")


def test_all_kinds_of_values_and_back():
    data = {
        "name": "x", "kind": "b", "inner": {"rate": 1, "steps": [1, 2]},
        "many": [{"rate": 0.5}], "size": [3, 4],
        "path": "a/b", "flag": True, "extra": {"name": "net", "deep": {"k": 1}},
    }  # fmt: skip
    config = from_mapping(Outer, data, "test")
    assert config.inner == Inner(1.0, (1, 2))
    assert config.many == (Inner(0.5),)
    assert config.path == Path("a/b")
    assert type(config.inner.rate) is float
    again = to_mapping(config)
    assert again["size"] == [3, 4]
    assert from_mapping(Outer, again, "test") == config


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "missing key 'name'"),
        ({"name": "x", "inner": {"rat": 1}}, "unknown key 'inner.rat'; did you mean 'rate'?"),
        ({"name": "x", "zzz": 1}, "unknown key 'zzz'; known: name, kind"),
        ({"name": 3}, "name must be str, not 3"),
        ({"name": "x", "kind": "c"}, "kind must be 'a' or 'b', not text 'c'"),
        ({"name": "x", "size": [1, 2, 3]}, "size must be"),
        ({"name": "x", "flag": 1}, "flag must be bool"),
        ({"name": "x", "inner": {"rate": True}}, "inner.rate must be float, not true"),
        ({"name": "x", "inner": 3}, "inner must be a table"),
        ({"name": "bad"}, "name = bad is refused"),
    ],
)
def test_errors_name_the_key(data, message):
    with pytest.raises(DataError) as caught:
        from_mapping(Outer, data, "my.toml")
    assert str(caught.value).startswith("my.toml: ")
    assert message in str(caught.value)


def test_overrides(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text('name = "x"\n[inner]\nrate = 0.5\n')
    config = load_config(
        Outer, file, ["inner.rate=1e-3", "name=word", "size=[5, 6]", "extra.deep.key=true"]
    )
    assert (config.inner.rate, config.name, config.size) == (1e-3, "word", (5, 6))
    assert config.extra == {"deep": {"key": True}}
    with pytest.raises(UsageError, match="key=value"):
        load_config(Outer, file, ["name"])
    with pytest.raises(DataError, match="did you mean 'rate'"):
        load_config(Outer, file, ["inner.rte=1"])
    with pytest.raises(UsageError, match="'name' is not a table"):
        load_config(Outer, file, ["name.x=1"])


def test_unreadable_files(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        load_config(Outer, tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("name = ")
    with pytest.raises(DataError, match="not TOML"):
        load_config(Outer, tmp_path / "bad.toml")


def test_shipped_configurations_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = shipped_configs() / "lite_cpu.toml"
    assert find_shipped("lite_cpu") == find_shipped("configs/lite_cpu.toml") == shipped
    assert find_shipped("configs/dev.txt").is_file()
    assert find_shipped("nothing") == Path("nothing")
    (tmp_path / "lite_cpu").write_text("")  # a file here comes first
    assert find_shipped("lite_cpu") == Path("lite_cpu")


def test_train_lists_what_ships():
    text = CliRunner().invoke(rmpe, ["train", "--list"]).output
    assert "lite_cpu " in text
    assert "ablation" not in text


def test_train_names_the_list_where_there_is_no_such_configuration():
    with pytest.raises(UsageError, match="rmpe train --list"):
        CliRunner().invoke(rmpe, ["train", "nosuch"], catch_exceptions=False)
