//! The numbers by which tables refer to each other: places in arrays, chosen by the control plane.

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            /// As an index into an array.
            #[inline]
            #[must_use]
            pub fn index(self) -> usize {
                usize::from(self.0)
            }
        }
    )+};
}

ids! {
    /// A service's place; below [`crate::limits::SERVICES`].
    ServiceId(u16);
    /// A backend's place; below [`crate::limits::BACKENDS`]. The same backend keeps it over every
    /// change of configuration (contract rule B4).
    BackendId(u16);
    /// A port's place; below [`crate::limits::PORTS`].
    PortId(u8);
    /// A neighbour's place.
    NeighbourId(u16);
    /// A tunnel's place.
    TunnelId(u16);
    /// A translation's place.
    TranslationId(u16);
    /// A local address's place; below [`crate::limits::LOCAL_ADDRESSES`].
    LocalId(u8);
}
