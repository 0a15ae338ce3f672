"""Where settings come from, and what a wrong one gets."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from service.keys import read_keys
from service.planning import flags as planning
from service.settings import Settings, SettingsError, read_settings

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting from outside the test."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"PGB_{name.upper()}", raising=False)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented_with_its_default_and_meaning(name: str) -> None:
    """In the words of the code, so that the page cannot go stale."""
    field = Settings.model_fields[name]
    default = field.default
    flag = f"`--{name.replace('_', '-')}`" if name != "artifacts" else "arguments"
    shown = "" if default in (None, ()) else f"`{str(default).lower() if isinstance(default, bool) else default}`"
    assert f"| {flag} | `PGB_{name.upper()}` | {shown} | {field.description} |" in DOCS.read_text()


def test_the_limits_of_the_security_page_are_the_defaults() -> None:
    """Where it says what a setting is by default."""
    shown = re.findall(r"`(\w+)` \(([\d.]+)\)", (DOCS.parent / "security.md").read_text())
    assert {"max_body_bytes", "max_load_seconds"} <= {name for name, _ in shown}
    assert [(name, number) for name, number in shown if str(Settings.model_fields[name].default) != number] == []


def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each where the one before is silent."""
    file = tmp_path / "settings.toml"
    file.write_text('artifacts = ["a", "b=c"]\nport = 1\nthreads = 1\nmax_items = 1\n')
    monkeypatch.setenv("PGB_THREADS", "2")
    monkeypatch.setenv("PGB_MAX_ITEMS", "2")
    monkeypatch.setenv("PGB_CORS_ORIGINS", "http://a, http://b")
    monkeypatch.setenv("PGB_CONFIG", str(file))
    found = read_settings(["--max-items", "3"])
    assert (found.artifacts, found.port, found.threads, found.max_items) == (("a", "b=c"), 1, 2, 3)
    assert found.cors_origins == ("http://a", "http://b")
    assert read_settings(["x", "y"]).artifacts == ("x", "y")


def test_the_defaults_of_an_image_lose_to_all_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the file, too, and they win over the service's own."""
    file = tmp_path / "settings.toml"
    file.write_text('host = "::1"\n')
    for name in ("HOST", "PORT", "THREADS", "CORS_ORIGINS"):
        value = {"HOST": "0.0.0.0", "CORS_ORIGINS": "http://a,http://b"}.get(name, "3")  # noqa: S104
        monkeypatch.setenv(f"PGB_DEFAULT_{name}", value)
    monkeypatch.setenv("PGB_PORT", "4")
    found = read_settings(["--config", str(file)])
    assert (found.host, found.port, found.threads) == ("::1", 4, 3)
    assert found.cors_origins == ("http://a", "http://b")


def test_the_variable_that_names_the_file_may_have_small_letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As those of settings may. Were it passed over, a service would start without its keys."""
    file = tmp_path / "settings.toml"
    file.write_text("port = 3\n")
    monkeypatch.setenv("pgb_config", str(file))
    assert read_settings([]).port == 3


def test_a_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell sees no path behind `--config=`, in a file or in a variable of a unit."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PGB_MODELS_DIR", "~/models")
    (tmp_path / "settings.toml").write_text('keys_file = "~/keys"\n')
    found = read_settings(["--config=~/settings.toml"])
    assert (found.keys_file, found.models_dir) == (tmp_path / "keys", tmp_path / "models")
    assert planning.parser().parse_args(["--profile=~/small.json"]).profile == tmp_path / "small.json"


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    """As some editors write it."""
    (tmp_path / "settings.toml").write_text("port = 1\n", "utf-8-sig")
    (tmp_path / "keys").write_text(f"me use {'0' * 64}\n", "utf-8-sig")
    assert read_settings(["--config", str(tmp_path / "settings.toml")]).port == 1
    assert [key.name for key in read_keys(tmp_path / "keys")] == ["me"]


def test_what_kubernetes_adds_to_the_environment_is_no_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service named pgb-serve puts its address into every container near it."""
    for name in (
        "PGB_SERVICE_HOST",
        "PGB_SERVE_SERVICE_HOST",
        "PGB_SERVE_SERVICE_PORT_HTTP",
        "PGB_SERVE_PORT",
        "PGB_SERVE_PORT_80_TCP_ADDR",
    ):
        monkeypatch.setenv(name, "tcp://10.0.0.1:80")
    assert read_settings([]).port == 8000


@pytest.mark.parametrize(
    ("argv", "environment", "file", "said"),
    [
        ([], {"PGB_PORT": "tcp://10.0.0.1:80"}, "", "enableServiceLinks: false"),
        (["--port", "x"], {}, "", "port: "),
        (["--port", "70000"], {}, "", "port: "),
        ([], {"PGB_DEFAULT_PORT": "tcp://10.0.0.1:80"}, "", "a service named pgb-default; set enableServiceLinks"),
        ([], {"PGB_PORTS": "1"}, "", "PGB_PORTS is not a setting"),
        ([], {"pgb_ports": "1"}, "", "pgb_ports is not a setting"),
        ([], {"PGB_DEFAULT_PORTS": "1"}, "", "PGB_DEFAULT_PORTS is not a setting"),
        ([], {"PGB_PORT": "1", "pgb_port": "2"}, "", "PGB_PORT and pgb_port are the same setting"),
        ([], {}, "ports = 1", "settings.toml: ports is not a setting; docs/settings.md lists them"),
        ([], {}, "host = [\n\nui = 1", "settings.toml: cannot be read as TOML (Invalid value (at line 3, "),
        ([], {}, f"port = {'9' * 5000}", "settings.toml: cannot be read as TOML (Exceeds the limit"),
        ([], {}, f"port = {'[' * 5000}", "settings.toml: cannot be read as TOML (maximum recursion depth"),
        (["--config", "/nowhere"], {}, "", "/nowhere: cannot be read (No such file or directory)"),
        (["--config", ""], {}, "", "config: is empty"),
        ([], {"PGB_CONFIG": " "}, "", "config: is empty"),
        (["a", ""], {}, "", "artifacts: has an empty entry in its list"),
        ([], {}, 'artifacts = [""]', "artifacts: has an empty entry in its list"),
        ([], {"PGB_ARTIFACTS": "a,,b"}, "", "artifacts: has an empty entry in its list"),
        ([], {"PGB_ARTIFACTS": ","}, "", "artifacts: has an empty entry in its list"),
        (["--cors-origins", "http://a,"], {}, "", "cors_origins: has an empty entry in its list"),
        (["--cors-origins", "http://a:0"], {}, "", "cors_origins: must be a list"),
        ([], {}, "threads = true", "threads: must be a number, not true or false"),
        ([], {}, "max_queue_seconds = true", "max_queue_seconds: must be a number, not true or false"),
        (["--threads", "1025"], {}, "", "threads: Input should be less than or equal to 1024"),
        (["--runtime", "magic"], {}, "", "runtime: "),
        (["--cors-origins", "example.org"], {}, "", "cors_origins: must be a list"),
        (["--cors-origins", "http://a,http://b/"], {}, "", "cors_origins: must be a list"),
        (["--cors-origins", "http://a,*"], {}, "", "cors_origins: has * beside other origins"),
        (["--cors-origins", "https://*.example"], {}, "", "cors_origins: must be a list"),
        (["--cors-origins", "https://a:70000"], {}, "", "cors_origins: must be a list"),
        (["--cors-origins", "https://m\xfcller.example"], {}, "", "as browsers send it, xn--"),
        (["--otlp-endpoint", "collector:4318"], {}, "", "otlp_endpoint: must be an http"),
        (["--otlp-endpoint", "http://collector:4318?token=1"], {}, "", "otlp_endpoint: must be an http"),
        (["--otlp-endpoint", "http://collector:4318/v1/traces/"], {}, "", "otlp_endpoint: ends with /v1/traces"),
        (["--max-body-bytes", "2147483648", "--max-pending-bytes", "9999999999"], {}, "", "max_body_bytes: "),
        (["--max-pending-bytes", "9999999999999"], {}, "", "max_pending_bytes: "),
        (["--max-header-bytes", "2000000"], {}, "", "max_header_bytes: "),
        (["--metrics-key", "true"], {}, "", "metrics_key: needs keys_file"),
        (["--metrics", "false", "--metrics-key", "true", "--keys-file", "k"], {}, "", "metrics_key: requires a key"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(
    argv: list[str],
    environment: dict[str, str],
    file: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Unknown, mistyped, out of range; as a flag, in the environment, in the file."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if file:
        (tmp_path / "settings.toml").write_text(file)
        argv = [*argv, "--config", str(tmp_path / "settings.toml")]
    with pytest.raises(SettingsError) as error:
        read_settings(argv)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", [name for name, field in Settings.model_fields.items() if field.annotation is int])
def test_a_count_that_nothing_can_hold_is_refused(name: str) -> None:
    """It would end a start, or a request, in the middle."""
    with pytest.raises(SettingsError, match=f"^{name}: Input should be less than or equal to"):
        read_settings([f"--{name.replace('_', '-')}={10**30}"])


@pytest.mark.parametrize("read", [read_settings, planning.parser().parse_args])
def test_a_flag_is_given_once(read: Callable[[list[str]], object], capsys: pytest.CaptureFixture[str]) -> None:
    """Of two values the last one would be taken without a word. So it is for the command that plans."""
    with pytest.raises(SystemExit):
        read(["--max-items", "5", "--max-items", "5"])
    assert "--max-items: is given twice" in capsys.readouterr().err


def test_a_wrong_flag_gets_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Under the name of the command, and not the usage of every setting."""
    with pytest.raises(SystemExit):
        read_settings(["x", "--ui"])
    usage, error = capsys.readouterr().err.splitlines()
    assert usage.startswith("usage: pgb serve ")
    assert error == "pgb serve: error: argument --ui: expected one argument"


def test_a_flag_is_not_guessed_from_its_beginning(capsys: pytest.CaptureFixture[str]) -> None:
    """--model is not --models-dir."""
    with pytest.raises(SystemExit):
        read_settings(["--model", "a"])
    assert "unrecognized arguments: --model" in capsys.readouterr().err


def test_addresses_that_work_are_taken() -> None:
    """Origins with ports, any origin, and an endpoint with a path."""
    argv = ["--cors-origins", "https://a.example:8443,http://b", "--otlp-endpoint", "https://host:4318/otlp"]
    found = read_settings(argv)
    assert found.cors_origins == ("https://a.example:8443", "http://b")
    assert read_settings(["--cors-origins", "*"]).cors_origins == ("*",)
    assert found.otlp_endpoint == "https://host:4318/otlp"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("HTTPS://Example.COM", "https://example.com"),
        ("https://a:443", "https://a"),
        ("http://a:080", "http://a"),
        ("http://a:443", "http://a:443"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("chrome-extension://abc", "chrome-extension://abc"),
        ("https://xn--mller-kva.example", "https://xn--mller-kva.example"),
    ],
)
def test_an_origin_is_kept_as_browsers_send_it(given: str, sent: str) -> None:
    """Else none would ever match it."""
    assert read_settings(["--cors-origins", given]).cors_origins == (sent,)


FLOATS = [name for name, field in Settings.model_fields.items() if field.annotation is float]
SECONDS = [name for name in Settings.model_fields if name.endswith("_seconds")]


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e999"])
@pytest.mark.parametrize("name", FLOATS)
def test_a_number_that_is_not_finite_is_refused(name: str, value: str) -> None:
    """A clock could not count it."""
    with pytest.raises(SettingsError, match=f"^{name}: "):
        read_settings([f"--{name.replace('_', '-')}={value}"])


@pytest.mark.parametrize("name", SECONDS)
def test_a_time_that_no_clock_can_count_is_refused(name: str) -> None:
    """The longest one that is taken is over thirty years."""
    flag = f"--{name.replace('_', '-')}"
    assert getattr(read_settings([f"{flag}=1000000000"]), name) == 1e9
    with pytest.raises(SettingsError, match=f"^{name}: "):
        read_settings([f"{flag}=1{'0' * 300}"])


@pytest.mark.parametrize("name", ["host", "models_dir", "keys_file", "otlp_endpoint", "artifacts", "log_level", "port"])
@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_value_is_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Empty, a host would be every address and a folder the current one; as a flag, a variable, or in the file."""
    monkeypatch.setenv(f"PGB_{name.upper()}", value)
    with pytest.raises(SettingsError, match=f"{name}: .*is empty"):
        read_settings(["--models-dir", "somewhere"] if name != "models_dir" else [])
    monkeypatch.delenv(f"PGB_{name.upper()}")
    if name != "artifacts":
        with pytest.raises(SettingsError, match=f"{name}: .*is empty"):
            read_settings([f"--{name.replace('_', '-')}={value}"])
    file = tmp_path / "settings.toml"
    file.write_text(f'{name} = "{value}"\n')
    with pytest.raises(SettingsError, match=f"{name}: .*is empty"):
        read_settings(["--config", str(file)])


def test_help_shows_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    """A percent sign in a description is shown as it stands."""
    with pytest.raises(SystemExit) as stopped:
        read_settings(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert stopped.value.code == 0
    assert [name for name in Settings.model_fields if name.replace("_", "-") not in said] == []
    assert "99% of the answers" in said
    assert "[127.0.0.1]" in said
    assert not {"[None]", "[()]"} & set(said.split())  # which are no values that anybody could give


def test_bodies_that_could_never_be_held_are_refused_at_the_start() -> None:
    """Nobody may hold more than is left free, and an eighth of the room is kept."""
    with pytest.raises(SettingsError, match="two and a half"):
        read_settings(["--max-pending-bytes", "6000000"])
