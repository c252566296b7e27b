from napari_mrgen.families.frame_prediction.tasks import passes_at


def test_roll_outs_grow_to_their_full_length():
    assert [passes_at(i / 8, 4) for i in range(8)] == [1, 1, 1, 2, 2, 2, 4, 4]
    assert passes_at(0.5, 1) == 1
    assert passes_at(0.999, 5) == 5
