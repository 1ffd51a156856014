//! Integration tests of rankforge-encoder.

mod adapters;
mod common;
mod completeness;
mod cut;
mod encode;
mod families;
mod fields;
mod fixture;
mod frozen;
mod gradients;
mod half_precision;
mod kept_layers;
mod layers;
mod layouts;
mod load_parameters;
mod malformed;
mod packing;
mod predict;
mod reference_device;
mod static_tables;
mod tokenizer;
mod tokenizer_files;
mod tokenizer_rules;
mod transformer;
mod weights;
mod word_cache;
