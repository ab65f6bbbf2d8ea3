//! Aufs: branches joined by a kernel with its patches; deleted names are files `.wh.NAME`, as in the layers themselves.
