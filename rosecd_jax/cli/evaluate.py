"""The command `rosecd evaluate`."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rosecd_jax.cli.common import (
    CorrectorOption,
    DtypeOption,
    LimitOption,
    NetworkOption,
    SamplerOption,
    SeedOption,
    SnrOption,
    StepsOption,
    WeightsOption,
    load_enhancer,
    plain_errors,
    progress_bar,
)
from rosecd_jax.cli.configs import find_config
from rosecd_jax.cli.modules import load_module, raised_by
from rosecd_jax.cli.summary import print_notes, print_results, print_summary
from rosecd_jax.pretrained import DEFAULT

if TYPE_CHECKING:
    from rosecd_jax.evaluation.systems import Evaluation

__all__ = ["evaluate", "print_summary", "run_evaluation", "unique_name"]

NOISY = "noisy"
NUMBERS = {"steps": int, "snr": float, "limit": float}
SETTINGS = ("name", "weights", "sampler", "corrector", "dtype", *NUMBERS)
CONFIG_KEYS = {"data", "checkpoints", "enhanced", "metrics", "baseline", "output", "published"}


DataArgument = Annotated[Path | None, typer.Argument(help="Folder with clean/ and noisy/.")]
ModelsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--checkpoint",
        "-c",
        metavar="MODEL[,KEY=VALUE]...",
        help="Model to measure; may be repeated. Keys: name, weights, sampler, steps, snr, "
        "corrector, dtype, limit. Without --enhanced, the packaged model is the default.",
    ),
]
FoldersOption = Annotated[
    list[Path] | None, typer.Option(metavar="FOLDER", help="Folder of enhanced files; may be repeated.")
]
MetricsOption = Annotated[
    str,
    typer.Option(
        metavar="NAMES",
        help="Measures, separated by commas, or all (docs/evaluation.md). Default: pesq, estoi, si_sdr, "
        "si_sir and si_sar.",
        show_default=False,
    ),
]
BaselineOption = Annotated[
    str, typer.Option(help="System that others are compared with.", show_default=NOISY)
]
ManifestOption = Annotated[
    Path | None,
    typer.Option(
        help="CSV with a column `file`; each other column of 2 to 40 different values groups the results."
    ),
]
ScoresOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[SYSTEM=]FILE",
        help="CSV of another tool's scores, with columns file, metric, value, and, without SYSTEM=, system.",
    ),
]
OutputOption = Annotated[
    Path | None, typer.Option(help="Folder for results.json, enhanced files and a CSV table per system.")
]
ReportOption = Annotated[
    Path | None, typer.Option(help="Like --output, with report.html: tables, charts and sounds.")
]
ConfigOption = Annotated[
    str,
    typer.Option(
        help="Config with get_config() that lists systems and measures: NAME, FILE.py, or either with "
        ":ARGUMENT."
    ),
]
CacheOption = Annotated[bool, typer.Option(help="Keep scores for the next evaluation of the same files.")]


def evaluate(
    data: DataArgument = None,
    checkpoint: ModelsOption = None,
    enhanced: FoldersOption = None,
    metrics: MetricsOption = "",
    baseline: BaselineOption = "",
    manifest: ManifestOption = None,
    scores: ScoresOption = None,
    output: OutputOption = None,
    report: ReportOption = None,
    config: ConfigOption = "",
    cache: CacheOption = True,
    weights: WeightsOption = "ema",
    sampler: SamplerOption = "auto",
    steps: StepsOption = 0,
    snr: SnrOption = 0.0,
    corrector: CorrectorOption = "annealed-langevin",
    seed: SeedOption = 0,
    dtype: DtypeOption = None,
    network: NetworkOption = "",
    limit: LimitOption = 30.0,
) -> None:
    """Measure models, or folders of enhanced files, on paired recordings.

    A model's settings follow its path, for example -c teacher,steps=5,name=five
    """
    with plain_errors():
        if output and report and output.resolve() != report.resolve():
            raise ValueError("--report also writes what --output does: give one of them")
        options: Any = {"sampler": sampler, "steps": steps, "snr": snr, "corrector": corrector}
        options |= {"weights": weights, "dtype": dtype, "limit": limit, "network": network}
        given = read_config(config) if config else {}
        if not (folder := data or given.get("data")):
            raise ValueError("no data: give a folder with clean/ and noisy/")
        folders = [*map(Path, given.get("enhanced", ())), *(enhanced or ())]
        checkpoints = [*given.get("checkpoints", ()), *(checkpoint or ())]
        run_evaluation(
            Path(folder),
            checkpoints or ([] if folders else [DEFAULT]),
            folders,
            report or output or (Path(given["output"]) if "output" in given else None),
            seed,
            metrics=metrics or given.get("metrics", ""),
            baseline=baseline or given.get("baseline", ""),
            manifest=manifest,
            scores=scores or (),
            published=given.get("published", ()),
            cache=cache,
            report=report is not None,
            **options,
        )


def run_evaluation(
    data: Path,
    checkpoints: Sequence[str | Path],
    enhanced: Sequence[Path],
    output: Path | None,
    seed: int = 0,
    *,
    metrics: str = "",
    baseline: str = "",
    manifest: Path | None = None,
    scores: Sequence[str] = (),
    published: Sequence[Mapping[str, Any]] = (),
    cache: bool = False,
    report: bool = False,
    **options: Any,
) -> "list[Evaluation]":
    """Evaluate the noisy input, every checkpoint and every folder; print the results and write them.

    `options` are those of `Enhancer.from_checkpoint`; the others are the command's.
    """
    from rosecd_jax.audio import io
    from rosecd_jax.evaluation import ScoreCache, build_results, evaluate, write_results
    from rosecd_jax.evaluation.cache import default_path
    from rosecd_jax.evaluation.results import check_manifest, check_scores
    from rosecd_jax.evaluation.tables import read_manifest, read_scores
    from rosecd_jax.metrics import MEASURES, USUAL

    names = tuple(MEASURES) if metrics == "all" else tuple(filter(None, metrics.split(","))) or USUAL
    columns = read_manifest(manifest) if manifest else {}
    others = [table for word in scores for table in read_scores(*_owner(word))]
    systems = load_systems(checkpoints, enhanced, options)
    known = [system for system, _ in systems]
    if baseline and baseline not in known:  # this and the tables are checked before the evaluation
        raise ValueError(f"no system is called {baseline!r}; there are {', '.join(known)}")
    files = [str(file.relative_to(data / "clean")) for file in io.find(data / "clean")]
    check_scores(others, files, known, names)
    note = check_manifest(columns, files) if manifest else ""
    kept = ScoreCache(default_path()) if cache else None
    with progress_bar(None, "evaluating") as advance:
        advanced = lambda method, done, total: advance(done, total, method)  # noqa: E731
        evaluations = evaluate(
            data, systems, output=output, seed=seed, measures=names, cache=kept, progress=advanced
        )
    results = build_results(
        data, evaluations, baseline=baseline, manifest=columns, others=others, published=published
    )
    print_results(results, {one.method: one.real_time_factor for one in evaluations})
    if output:
        write_results(output, results, evaluations)
        _report(output, report)
    for evaluation in evaluations:
        print_notes(evaluation, output)
    if note:
        typer.secho(f"rosecd: {manifest}: {note}", fg="yellow", err=True)
    if any(evaluation.errors for evaluation in evaluations):
        raise typer.Exit(1)
    return evaluations


def _report(output: Path, wanted: bool) -> None:
    """Write the report, or print a note if there is an earlier one."""
    if wanted:
        from rosecd_jax.evaluation.report import write_report

        typer.echo(f"report: {write_report(output)}")
    elif (old := output / "report.html").exists():
        words = f"{old} is of an earlier evaluation; rosecd report {output} renews it"
        typer.secho(f"rosecd: {words}", fg="yellow", err=True)


def load_systems(
    checkpoints: Sequence[str | Path], folders: Sequence[Path], options: Mapping[str, Any]
) -> list[Any]:
    """Return the noisy input, models and folders, each as (name, system) with a unique name.

    Raises:
      ValueError: if two of them have the same name.
    """
    specs = [parse_system(str(word)) for word in checkpoints]
    paths = [path for path, given in specs if "name" not in given]
    named = [(given.pop("name", "") or unique_name(path, paths), path, given) for path, given in specs]
    directories = [(unique_name(path, folders), path) for path in folders]
    names = [NOISY, *(name for name, _, _ in named), *(name for name, _ in directories)]
    if same := [name for name in names if names.count(name) > 1]:
        raise ValueError(
            f"two systems are called {same[0]}; name one by --checkpoint PATH,name=NAME, or rename a folder"
        )
    # One signal at a time, to measure the time of each.
    models = [
        (name, load_enhancer(path, **{"batch_frames": 0, **options, **given})) for name, path, given in named
    ]
    return [(NOISY, None), *models, *directories]


def parse_system(text: str) -> tuple[Path, dict[str, Any]]:
    """Parse PATH[,key=value]... into a checkpoint and its settings.

    Raises:
      ValueError: for an unknown key, or an invalid number.
    """
    words = text.split(",")
    first = next((i for i, word in enumerate(words) if re.match(r"\w+=", word)), len(words))
    settings: dict[str, Any] = {}
    for word in words[first:]:
        key, equals, value = word.partition("=")
        if key not in SETTINGS or not equals:
            raise ValueError(f"{text}: no setting {word!r}; expected one of {', '.join(SETTINGS)}")
        try:
            settings[key] = NUMBERS.get(key, str)(value)
        except ValueError:
            raise ValueError(f"{text}: {key} is {value!r}; expected a number") from None
    return Path(",".join(words[:first])), settings


def unique_name(path: Path, among: Sequence[Path]) -> str:
    """Return the last part of a path, with its parent's name if another system has the same last part."""
    path = path.resolve()
    alike = path.name == NOISY or sum(other.resolve().name == path.name for other in among) > 1
    return f"{path.parent.name}-{path.name}" if alike else path.name


def read_config(word: str) -> dict[str, Any]:
    """Return the result of a config's get_config(): systems, measures, published figures.

    Raises:
      ValueError: if the file fails, or returns anything else.
    """
    full, path = find_config(word)
    argument = full.removeprefix(str(path)).removeprefix(":")
    try:
        found = load_module(path).get_config(*filter(None, [argument]))
    except Exception as error:  # the file is a program
        raise ValueError(f"{path}: {raised_by(path, error) or error}") from error
    found = found.to_dict() if hasattr(found, "to_dict") else found
    unknown = sorted(set(found) - CONFIG_KEYS) if isinstance(found, Mapping) else ["no mapping"]
    if unknown:
        known = ", ".join(sorted(CONFIG_KEYS))
        raise ValueError(f"{path}: get_config() returns {unknown[0]}; expected a mapping with keys {known}")
    return dict(found)


def _owner(word: str) -> tuple[Path, str]:
    """Parse [SYSTEM=]FILE into file and system."""
    system, equals, file = word.rpartition("=")
    return (Path(file), system) if equals and not Path(word).exists() else (Path(word), "")
