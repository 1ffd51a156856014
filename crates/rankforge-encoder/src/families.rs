//! One file for each family: its config fields, tensor names and head.
