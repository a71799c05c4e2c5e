"""The public sets of docs/datasets.md in small: their folders, names and columns.

Each function writes a set of a few drawn films into a folder and returns what its
documented command should make of it.
"""

import csv
import dataclasses
import gzip
import pathlib
import uuid

import numpy as np

from data_prep.dataset import rle
from data_prep.phantom import dicom_writer
from data_prep.phantom import phantom
from tests import dicom_files

SIDE = 64
_UID = "1.2.276.0.7230010.3.1.4.8323329"
_VINDR_FINDINGS = [
    "Aortic enlargement",
    "Atelectasis",
    "Calcification",
    "Cardiomegaly",
    "Clavicle fracture",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Enlarged PA",
    "ILD",
    "Infiltration",
    "Lung Opacity",
    "Lung cavity",
    "Lung cyst",
    "Mediastinal shift",
    "Nodule/Mass",
    "Pleural effusion",
    "Pleural thickening",
    "Pneumothorax",
    "Pulmonary fibrosis",
    "Rib fracture",
    "Other lesion",
    "COPD",
    "Lung tumor",
    "Pneumonia",
    "Tuberculosis",
    "Other diseases",
    "No finding",
]
_STANFORD_FINDINGS = [
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
]


@dataclasses.dataclass(kw_only=True)
class Expected:
    """What a documented command makes of a set.

    Attributes:
      labels: {the file's path below the folder, its label}, of training films; films
        that are not in it are left out or quarantined.
      patients: lists of such paths that have one patient.
      masks: whether positives have a mask.
      test: paths of films of the test split.
      quarantined: {path: code}.
      log: texts that the log has.
      folds: {path: fold} of a published split, or None.
    """

    labels: dict[str, int]
    patients: list[list[str]] = dataclasses.field(default_factory=list)
    masks: bool = False
    test: list[str] = dataclasses.field(default_factory=list)
    quarantined: dict[str, str] = dataclasses.field(default_factory=dict)
    log: list[str] = dataclasses.field(default_factory=list)
    folds: dict[str, int] | None = None


def siim_stage_1(folder: pathlib.Path) -> Expected:
    labels, rows = {}, []
    for k in range(12):
        path, image_id, mask = _siim_film(folder, "dicom-images-train", k)
        labels[path] = int(mask.any())
        rows += [f"{image_id}, {text}" for text in _halves(mask)]
    _write_text(folder / "train-rle.csv", "ImageId, EncodedPixels", rows)
    unlabelled, _, _ = _siim_film(folder, "dicom-images-train", 12)
    return Expected(
        labels=labels,
        masks=True,
        test=[_siim_film(folder, "dicom-images-test", 20 + n)[0] for n in (0, 1)],
        quarantined={unlabelled: "LABEL_MISSING"},
        log=["Every image is its own group: PatientID is missing or differs"],
    )


def siim_stage_2(folder: pathlib.Path) -> Expected:
    labels, rows = {}, []
    for k in range(12):
        part = "dicom-images-train" if k < 9 else "dicom-images-test"
        path, image_id, mask = _siim_film(folder, f"pneumothorax/{part}", k)
        labels[path] = int(mask.any())
        rows += [f"{image_id},{text}" for text in _halves(mask)]
    # The csv names every film of the set, and people have a part of them.
    rows += [f"{_UID}.{k}.1517875162.258081,-1" for k in range(900, 905)]
    header = "ImageId, EncodedPixels"
    _write_text(folder / "pneumothorax" / "train-rle.csv", header, rows)
    test = []
    for k in range(2):
        test.append(f"stage_2_images/ID_0011fe8{k}e.dcm")
        _write_dicom(folder / test[-1], _film(30 + k)[0], f"{_UID}.{30 + k}", str(k))
    return Expected(
        labels=labels,
        masks=True,
        test=test,
        log=["5 labels of train-rle.csv are of images that"],
    )


def candid_ptx(folder: pathlib.Path) -> Expected:
    labels, patients, rows = {}, {}, []
    for k in range(12):
        uid = f"1.2.826.0.1.3680043.8.498.{10**18 + k * 7919}"
        path = f"dataset/{uid}"
        image, mask = _film(k)
        _write_dicom(folder / path, image, uid, "anonymous")
        labels[path] = int(mask.any())
        patients.setdefault(k // 2, []).append(path)
        name = f"P{k // 2:06d}_2015010{k % 2}_{k}"
        report = 'CHEST X-RAY,\nno change; "stable"'
        for text in _halves(mask):
            rows.append([f"{uid}.1", uid, name, report, text])
    header = ["StudyInstanceUID", "SOPInstanceUID", "filename", "Report"]
    _write_csv(folder / "Pneumothorax_reports.csv", [*header, "EncodedPixels"], rows)
    return Expected(
        labels=labels,
        patients=list(patients.values()),
        masks=True,
        log=["SOPInstanceUID names the image and EncodedPixels its mask"],
    )


def nih(folder: pathlib.Path) -> Expected:
    header = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Sex"
    header += ",View Position,OriginalImage[Width,Height]"
    header += ",OriginalImagePixelSpacing[x,y]"
    root = folder / "ChestX-ray14"
    labels, folds, patients, rows, names = {}, {}, {}, [], {0: [], 1: []}
    for k in range(12):
        patient, visit = 1 + k // 2, k % 2
        name = f"{patient:08d}_{visit:03d}.png"
        path = f"ChestX-ray14/images_{1 + k // 6:03d}/images/{name}"
        label = int(k % 3 == 0)
        _write_png(folder / path, _film(k)[0])
        finding = "Effusion|Pneumothorax" if label else ("No Finding", "Mass")[k % 2]
        view = "PA" if visit else "AP"
        rows.append(
            f"{name},{finding},{visit},{patient},58,M,{view},2682,2749,0.143,0.143"
        )
        fold = int(k < 8)
        names[fold].append(name)
        labels[path], folds[path] = label, fold
        patients.setdefault(patient, []).append(path)
    _write_text(root / "Data_Entry_2017_v2020.csv", header, rows)
    _write_text(root / "test_list.txt", names[0][0], names[0][1:])
    _write_text(root / "train_val_list.txt", names[1][0], names[1][1:])
    return Expected(
        labels=labels,
        folds=folds,
        patients=list(patients.values()),
        log=["labels 12 images, 4 of them positive, by Finding Labels"],
    )


def chexpert(folder: pathlib.Path) -> Expected:
    root = "CheXpert-v1.0-small/train"
    header = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *_STANFORD_FINDINGS]
    labels, patients, rows = {}, {}, []
    for k in range(15):
        patient = f"patient{k // 2 + 1:05d}"
        path = f"{root}/{patient}/study{k % 2 + 1}/view1_frontal.jpg"
        _write_jpeg(folder / path, _film(k)[0])
        # Twelve films with a label, an uncertain one, and two without a word.
        cell = ("1.0", "0.0")[k % 3 > 0] if k < 12 else ("-1.0", "", "")[k - 12]
        rows.append([path, "Female", "68", "Frontal", ("AP", "PA")[k % 2]])
        rows[-1] += _cells(_STANFORD_FINDINGS, cell)
        if k < 12:
            labels[path] = int(float(cell))
            patients.setdefault(patient, []).append(path)
    lateral = f"{root}/patient00001/study1/view2_lateral.jpg"
    _write_jpeg(folder / lateral, _film(50)[0])
    rows.append([lateral, "Female", "68", "Lateral", ""])
    rows[-1] += _cells(_STANFORD_FINDINGS, "1.0")
    _write_csv(folder / "CheXpert-v1.0-small" / "train.csv", header, rows)
    return Expected(
        labels=labels,
        patients=list(patients.values()),
        log=[
            "1 images are left out: another view than those of --views",
            "1 images are left out: an uncertain label",
            "2 images are left out: no word on the finding",
        ],
    )


def mimic(folder: pathlib.Path) -> Expected:
    root = folder / "mimic-cxr-jpg"
    labels, patients, studies, images = {}, {}, [], []
    quarantined = {}
    for k in range(8):
        subject, study = 10000032 + k // 2, 50414267 + k
        cell = ("1.0", "0.0")[k % 3 > 0] if k < 7 else ""
        if k != 6:
            studies.append([subject, study, *_cells(_STANFORD_FINDINGS, cell)])
        for n, view in enumerate(("AP", "PA", "LATERAL")):
            dicom_id = "-".join(f"{(k + 1) * 7919 + n * 31 + w:08x}" for w in range(5))
            path = f"mimic-cxr-jpg/files/p10/p{subject}/s{study}/{dicom_id}.jpg"
            _write_jpeg(folder / path, _film(10 * k + n)[0])
            images.append([dicom_id, subject, study, "CHEST (PA AND LAT)", view])
            images[-1] += [2544, 3056, 21800506, 213014.531]
            # Study 6 has no row of labels, and study 7 no word on the finding.
            if k == 6:
                quarantined[path] = "LABEL_MISSING"
            elif k < 6 and view != "LATERAL":
                labels[path] = int(float(cell))
                patients.setdefault(subject, []).append(path)
    _write_csv(
        root / "mimic-cxr-2.0.0-chexpert.csv.gz",
        ["subject_id", "study_id", *_STANFORD_FINDINGS],
        studies,
    )
    _write_csv(
        root / "mimic-cxr-2.0.0-metadata.csv.gz",
        ["dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription"]
        + ["ViewPosition", "Rows", "Columns", "StudyDate", "StudyTime"],
        images,
    )
    return Expected(
        labels=labels,
        patients=list(patients.values()),
        quarantined=quarantined,
        log=[
            "7 images are left out: another view than those of --views",
            "2 images are left out: no word on the finding",
        ],
    )


def padchest(folder: pathlib.Path) -> Expected:
    root = folder / "PadChest"
    labels, patients, rows = {}, {}, []
    cells = {
        12: ("PA", "['unchanged']"),
        13: ("L", "['pneumothorax']"),
        14: ("PA", ""),
        15: ("COSTAL", "['rib fracture']"),
    }
    for k in range(16):
        name = f"21684011136696401281920706111201031014{k:04d}_04-014-{k:03d}.png"
        path = f"PadChest/{k % 2}/{name}"
        projection = ("PA", "AP", "AP_horizontal")[k % 3]
        finding = ("pneumothorax", "normal", "hydropneumothorax", "nodule")[k % 4]
        projection, cell = cells.get(k, (projection, f"['{finding}', 'scoliosis']"))
        image = _film(k)[0].astype(np.uint16) * 16
        _write_png(folder / path, image)
        patient = f"839860488694292331637988235681460987{k // 2:04d}"
        row = [k, name, k % 2, 20140915, f"2050{k}", patient, 1930, "F", "PA"]
        rows.append([*row, projection, "No", "Physician", cell])
        if k < 12:
            labels[path] = int("pneumothorax" in finding)
            patients.setdefault(patient, []).append(path)
    _write_csv(
        root / "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv",
        ["", "ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID"]
        + ["PatientBirth", "PatientSex_DICOM", "ViewPosition_DICOM", "Projection"]
        + ["Pediatric", "MethodLabel", "Labels"],
        rows,
    )
    return Expected(
        labels=labels,
        patients=list(patients.values()),
        log=[
            "2 images are left out: another view than those of --views",
            "2 images are left out: no word on the finding",
            "labels 12 images, 6 of them positive, by Labels",
        ],
    )


def vindr(folder: pathlib.Path) -> Expected:
    labels, rows = {}, []
    for k in range(12):
        image_id = uuid.UUID(int=k * 7919 + 5).hex
        path = f"vindr-cxr/train/{image_id}.dicom"
        image = _film(k)[0].astype(np.uint16) * 16
        # Both photometric interpretations, 12 bits, without a patient.
        monochrome = f"MONOCHROME{1 + k % 2}"
        stored = 4095 - image if monochrome == "MONOCHROME1" else image
        data = dicom_files.native(
            stored, bits=12, PhotometricInterpretation=monochrome, PatientID=""
        )
        _write_bytes(folder / path, dicom_files.as_bytes(data))
        # Two of three readers, one of them, or none.
        votes = (2, 1, 0)[k % 3]
        for reader in range(3):
            cells = _cells(_VINDR_FINDINGS, str(int(reader < votes)), other="0")
            rows.append([image_id, f"R{8 + reader}", *cells])
        labels[path] = int(votes == 2)
    _write_csv(
        folder / "vindr-cxr" / "annotations" / "image_labels_train.csv",
        ["image_id", "rad_id", *_VINDR_FINDINGS],
        rows,
    )
    told = "labels 12 images, 4 of them positive, by Pneumothorax"
    return Expected(
        labels=labels, log=[told, "is known to name patients; --patient_column"]
    )


def rsna(folder: pathlib.Path) -> Expected:
    labels, rows, test = {}, [], []
    for k in range(14):
        patient_id = str(uuid.UUID(int=(k + 1) * 7919 << 64))
        part = "stage_2_train_images" if k < 12 else "stage_2_test_images"
        path = f"{part}/{patient_id}.dcm"
        _write_dicom(folder / path, _film(k)[0], f"{_UID}.{k}", patient_id)
        if k >= 12:
            test.append(path)
            continue
        labels[path] = int(k % 3 == 0)
        boxes = [[264.0, 152.0, 213.0, 379.0], [562.0, 152.0, 256.0, 453.0]]
        for box in boxes if labels[path] else [[""] * 4]:
            rows.append([patient_id, *box, labels[path]])
    header = ["patientId", "x", "y", "width", "height", "Target"]
    _write_csv(folder / "stage_2_train_labels.csv", header, rows)
    told = "labels 12 images, 4 of them positive, by Target"
    return Expected(
        labels=labels,
        test=test,
        log=[told, "is known to name patients; --patient_column"],
    )


def _film(k: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns film k and its mask; every third has a pneumothorax."""
    rng = np.random.default_rng([k, 20])
    drawn = phantom.draw(rng, size=SIDE, pneumothorax=k % 3 == 0)
    return drawn.image, drawn.mask


def _siim_film(folder: pathlib.Path, part: str, k: int):
    """Writes film k as stage 1 has it; returns its path, image id and mask."""
    image, mask = _film(k)
    stamp = f"{300 + k}.1517875162.25808"
    study, series = (f"1.2.276.0.7230010.3.1.{n}.8323329.{stamp}" for n in (2, 3))
    image_id = f"{_UID}.{stamp}{k % 10}"
    path = f"{part}/{study}0/{series}9/{image_id}.dcm"
    # Each file has another PatientID.
    _write_dicom(folder / path, image, image_id, str(uuid.UUID(int=k)))
    return path, image_id, mask


def _halves(mask: np.ndarray) -> list[str]:
    """Returns the rows of a mask: '-1', or two that overlap."""
    if not mask.any():
        return [rle.EMPTY]
    middle = int(np.median(np.flatnonzero(mask.any(axis=1))))
    upper, lower = mask.copy(), mask.copy()
    upper[middle + 2 :], lower[: middle - 1] = 0, 0
    return [rle.encode(part) for part in (upper, lower)]


def _cells(findings, pneumothorax: str, *, other: str = "") -> list[str]:
    return [pneumothorax if name == "Pneumothorax" else other for name in findings]


def _write_dicom(path: pathlib.Path, image, sop_uid: str, patient_id: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    dicom_writer.write_jpeg_baseline(
        path,
        image,
        patient_id=patient_id,
        study_uid=f"{sop_uid}.2",
        series_uid=f"{sop_uid}.3",
        sop_uid=sop_uid,
    )


def _write_png(path: pathlib.Path, image: np.ndarray) -> None:
    _write_bytes(path, dicom_files.compressed(image, format="PNG"))


def _write_jpeg(path: pathlib.Path, image: np.ndarray) -> None:
    _write_bytes(path, dicom_files.compressed(image, format="JPEG", quality=95))


def _write_bytes(path: pathlib.Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _write_text(path: pathlib.Path, header: str, lines) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *lines, ""]))


def _write_csv(path: pathlib.Path, header, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
