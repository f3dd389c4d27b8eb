"""`ranvier config`."""

from pathlib import Path

from click.testing import CliRunner

from ranvier.cli import main
from ranvier.config import sample


def test_it_prints_the_sample(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["config"])
    assert result.exit_code == 0
    assert result.stdout == sample()


def test_the_printed_sample_passes_its_own_check(tmp_path: Path) -> None:
    path = tmp_path / "homeserver.yaml"
    path.write_text(CliRunner().invoke(main, ["config"]).stdout)
    result = CliRunner().invoke(main, ["config", "--check", str(path)])
    assert result.exit_code == 0, result.output
    assert "The configuration of example.org is good." in result.stderr


def test_a_check_tells_every_fault_with_its_place_and_fails(tmp_path: Path) -> None:
    path = tmp_path / "homeserver.yaml"
    path.write_text("server_name: example.org\nmax_upload_sise: 1M\nenable_metrics: maybe\n")
    result = CliRunner().invoke(main, ["config", "--check", str(path)])
    assert result.exit_code == 2
    first, second = result.stderr.splitlines()
    assert first.startswith(f"{path}:2:1: `max_upload_sise`")
    assert second.startswith(f"{path}:3:1: `enable_metrics`")


def test_a_check_warns_of_what_has_no_effect(tmp_path: Path) -> None:
    path = tmp_path / "homeserver.yaml"
    path.write_text("server_name: example.org\nurl_preview_enabled: true\n")
    result = CliRunner().invoke(main, ["config", "--check", str(path)])
    assert result.exit_code == 0
    assert "`url_preview_enabled` is known, but not yet used" in result.stderr


def test_it_makes_the_files_that_a_configuration_names(tmp_path: Path) -> None:
    path = tmp_path / "homeserver.yaml"
    path.write_text("server_name: example.org\nregistration_shared_secret_path: secret\n")
    result = CliRunner().invoke(main, ["config", "--create-missing", str(path), "--check", str(path)])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "secret").exists()
    assert (tmp_path / "signing.key").exists()
