"""DICOM: sweeps as objects that a PACS keeps, a queue on the disk that sends them, and the worklist. docs/dicom.md says what is where.

Nothing here is imported by the services of a sweep; pydicom and pynetdicom are the extra ``dicom``.
"""
