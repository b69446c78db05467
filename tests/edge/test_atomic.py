"""A file is the old one or a new one, whoever else writes it at the same time."""

import threading

from edge.atomic import replacing


def test_two_writers_of_one_file_each_write_a_whole_one(tmp_path):
    path = tmp_path / "volume.nrrd"
    with replacing(path) as first:
        first.write(b"first, ")
        with replacing(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
        first.write(b"whole")
    assert path.read_bytes() == b"first, whole" and list(tmp_path.iterdir()) == [path]


def test_many_threads_leave_one_whole_file_and_nothing_beside_it(tmp_path):
    path, failed = tmp_path / "sidecar.json", []

    def write(letter):
        try:
            for _ in range(10):
                with replacing(path) as out:
                    for _ in range(50):
                        out.write(letter * 100)
        except OSError as wrong:
            failed.append(wrong)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text = path.read_bytes()
    assert not failed and len(text) == 5000 and len(set(text)) == 1 and list(tmp_path.iterdir()) == [path]
