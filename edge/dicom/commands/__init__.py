"""The actions of ``sonosweep dicom``, one file each."""
