//! A macro that defines structs of buffers.

/// Defines a struct whose fields are all `Buffer`, with two methods: `new(device)` makes every
/// buffer empty, `buffers()` iterates over them, for instance to add up their sizes.
macro_rules! buffers {
    ($(#[$struct_doc:meta])* $name:ident { $($(#[$doc:meta])* $field:ident,)* }) => {
        $(#[$struct_doc])*
        pub(crate) struct $name {
            $($(#[$doc])* pub(crate) $field: rankforge_kernels::Buffer,)*
        }

        impl $name {
            pub(crate) fn new(device: &rankforge_kernels::Device) -> $name {
                $name { $($field: rankforge_kernels::Buffer::empty(device),)* }
            }

            pub(crate) fn buffers(&self) -> impl Iterator<Item = &rankforge_kernels::Buffer> {
                [$(&self.$field,)*].into_iter()
            }
        }
    };
}
pub(crate) use buffers;
