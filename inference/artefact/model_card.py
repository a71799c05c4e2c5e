"""The model card: README.md beside an artefact, in the form of Mitchell et al.

Source of the form: M. Mitchell et al., Model Cards for Model Reporting, FAT* 2019.
"""

from typing import Any

from inference.artefact.packed_ensemble import PackedEnsemble
from trainer.run.run_folder import FinishedRun

_TEXT = """\
# Pneumothorax on frontal chest X-rays: {format}

Outlines pneumothorax on a frontal chest X-ray, and gives the probability that there is
one. **This is not a medical device.** It has no approval of any authority, and no
decision on a patient may rest on it.

## Intended use

Research and teaching: to compare methods, to sort films for readers who look at each
of them, to make first outlines that a radiologist corrects.

Not for: diagnosis, triage without a reader, lateral films, other parts of the body,
children where the data below has none, photographs of screens or films.

## Members

| role | weights' sha256 | model | scores of its validation | side | precision |
|---|---|---|---|---|---|
{members}

The mean over the members and over these views: {tta}.{classifier_views}

## Data and preprocessing

{data}

A film is shrunk and equalised as its member's training images were{where}.

## Post-processing

    {postprocess}

The steps are explained in inference/masks/postprocess.py of the project. {tuning}
{calibration}

## Limits

- A probability of this model is no prevalence: on films from another place it may be
  too high or too low by far.
- Outlines of small or apical pneumothorax are often missed, and skin folds, lines and
  the edge of a scapula taken for one.
- A film that is not a frontal chest X-ray gets a mask like any other. The guard score
  says how unlike the training films it is; -1 where this artefact has no guard.
- It was trained on grey values that show a film as a reader sees it, lungs dark.

## Files

{files}

Made with {versions}. `artefact.json` has the sha256 of each file.
"""
_FILES = {
    "savedmodel": """\
- `1/`: the model in TensorFlow Serving's layout, which ignores what is beside it.
- `labels.txt`: the meaning of the values of a mask.
- `predict.py`: predicts files with TensorFlow alone: `python predict.py film.png`.""",
    "onnx": """\
- `model.onnx`: from grey squares to the mean map and the probability.
- `labels.txt`: the meaning of the values of a mask.""",
    "openvino": """\
- `model.xml`, `model.bin`: from grey squares to the mean map and the probability.
- `labels.txt`: the meaning of the values of a mask.""",
}
LABELS = "background\npneumothorax\n"


def text(ensemble: PackedEnsemble, format_: str, versions: dict[str, str]) -> str:
    """Returns the card as Markdown; it names no path and no patient."""
    views = _views(ensemble.classifier_tta)
    tuning = ensemble.tuning
    return _TEXT.format(
        format=format_,
        members="\n".join(_member_rows(ensemble)),
        tta=_views(ensemble.tta),
        classifier_views=f" The classifiers' views: {views}." if views else "",
        data="\n".join(_data_rows(list(ensemble.runs.values()))),
        where="" if format_ == "savedmodel" else ", before this model sees it",
        postprocess=ensemble.postprocess,
        tuning=_tuning(tuning) if tuning else "They were chosen, not tuned.",
        calibration=(
            "The probability is that of the members, not calibrated."
            if ensemble.temperature is None
            else "The logit of the probability is divided by the temperature "
            f"{ensemble.temperature:g}."
        ),
        files=_FILES[format_],
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
    )


def _member_rows(ensemble: PackedEnsemble):
    roles = {"mask": "segmenter", "label": "classifier"}
    for member in ensemble.group.members:
        run = ensemble.runs[member.path]
        cells = (
            roles[member.output],
            f"`{member.weights_sha256}`",
            f"`{run.config['model']}`",
            _scores(run.result["scores"]),
            member.dataset.manifest.image_size,
            run.config["precision"],
        )
        yield "| " + " | ".join(map(str, cells)) + " |"


def _views(names: list[str]) -> str:
    return ", ".join("the film itself" if n == "none" else n for n in names)


def _scores(scores: dict[str, Any]) -> str:
    """Returns the scores of a run's weights, as its result.json has them."""
    parts = []
    for name, value in scores.items():
        if isinstance(value, dict):
            parts += [f"{name} {k} {v:.4g}" for k, v in value.items() if _number(v)]
        elif _number(value):
            parts.append(f"{name} {value:.4g}")
    return ", ".join(parts) or "not known"


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _data_rows(runs: list[FinishedRun]):
    seen: list[Any] = []
    for run in runs:
        facts = run.dataset
        if facts in seen:
            continue
        seen.append(facts)
        yield f"Dataset of the fingerprint `{facts['source_fingerprint']}`:\n"
        yield "| option | value |\n|---|---|"
        for name, value in sorted(facts["options"].items()):
            # A check of the secret key of the patients' hash is nobody's business.
            if value is not None and name != "group_salt_check":
                yield f"| {name} | `{value}` |"
        yield ""


def _tuning(tuning: dict[str, Any]) -> str:
    nested = tuning["nested_score"]
    return (
        f"They were tuned on out-of-fold predictions of {tuning['images']} images, of "
        f"which the mean Dice is {tuning['score']:.4f}"
        + ("." if nested is None else f", and {nested:.4f} by nested folds.")
    )
