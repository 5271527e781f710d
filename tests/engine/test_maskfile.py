"""Mask files come back whole, or say in one line why not."""

import errno
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pruning.maskfile import load_masks, save_masks
from pruning.masks import Masks, global_top_k

WEIGHTS = {"0.weight": torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), "2.weight": torch.ones(2, 4)}
MASKS = global_top_k(WEIGHTS, Masks.full(WEIGHTS), 7)  # views into one tensor, as the engine makes them


def test_masks_and_provenance_come_back(tmp_path):
    path = tmp_path / "masks.safetensors"
    save_masks(path, MASKS, {"pruner": "synflow", "seed": "0", "note": "ünïcode"})
    masks, provenance = load_masks(path, WEIGHTS)
    assert masks == MASKS
    assert list(masks) == list(WEIGHTS)
    assert provenance == {"pruner": "synflow", "seed": "0", "note": "ünïcode"}
    assert [p.name for p in tmp_path.iterdir()] == ["masks.safetensors"]


def test_transposed_masks_come_back(tmp_path):
    masks = Masks({"w": torch.tensor([[True, False, True], [False, False, True]]).t()})
    save_masks(tmp_path / "m", masks, {})
    assert load_masks(tmp_path / "m", {"w": torch.ones(3, 2)}) == (masks, {})


def test_a_file_cut_short_anywhere_is_refused(tmp_path):
    path = tmp_path / "masks.safetensors"
    save_masks(path, MASKS, {"pruner": "synflow"})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is no mask file, or is cut short") as caught:
            load_masks(path, WEIGHTS)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"PK\x03\x04 a zip or a pickle", b"{}", b"\x80\x04K\x01."])
def test_a_foreign_file_is_refused(tmp_path, content):
    path = tmp_path / "masks.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is no mask file"):
        load_masks(path, WEIGHTS)


def test_a_file_of_weights_is_no_file_of_masks(tmp_path):
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"holds no masks for this network: the mask of '0.weight' is torch.float32"):
        load_masks(tmp_path / "model.safetensors", WEIGHTS)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"0.weight": WEIGHTS["0.weight"]}, "missing none, not asked for '2.weight'"),
        ({**WEIGHTS, "4.weight": torch.ones(1)}, "missing '4.weight'"),
        ({**WEIGHTS, "2.weight": torch.ones(4, 2)}, r"shape \(2, 4\), wanted \(4, 2\)"),
    ],
)
def test_a_file_of_another_network_is_refused(tmp_path, weights, message):
    save_masks(tmp_path / "m", MASKS, {})
    with pytest.raises(ValueError, match=message):
        load_masks(tmp_path / "m", weights)


@pytest.mark.parametrize("half", [0, 20])
def test_a_full_disk_leaves_nothing_half_written_and_the_old_file_whole(tmp_path, monkeypatch, half):
    path = tmp_path / "masks.safetensors"
    save_masks(path, MASKS, {"run": "old"})
    write = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        write(self, bytes(data)[:half])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        save_masks(path, Masks.full(WEIGHTS), {"run": "new"})
    assert [p.name for p in tmp_path.iterdir()] == ["masks.safetensors"]
    assert load_masks(path, WEIGHTS) == (MASKS, {"run": "old"})


def test_a_folder_that_is_not_there_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        save_masks(tmp_path / "none" / "m", MASKS, {})
    with pytest.raises(FileNotFoundError):
        load_masks(tmp_path / "m", WEIGHTS)
