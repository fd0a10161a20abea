//! Virtual devices that are made after the start of EAL.

use std::ffi::CString;

use crate::advice;
use crate::eal::Eal;
use crate::error::{Error, check};

/// Has the bus of virtual devices make one.
pub(super) fn plug(eal: &Eal, name: &str, options: &str) -> Result<(), Error> {
    let device = c_string(name)?;
    let arguments = c_string(options)?;
    let _one_at_a_time = eal.state();
    // SAFETY: EAL is up, as there is an `Eal`; the three strings end with NUL and are copied.
    let result = unsafe {
        dpdk_sys::rte_eal_hotplug_add(c"vdev".as_ptr(), device.as_ptr(), arguments.as_ptr())
    };
    let subject = format!("{name} with {options:?}");
    check(
        "rte_eal_hotplug_add",
        &subject,
        result,
        &advice::for_vdev(name),
    )
    .map(drop)
}

fn c_string(text: &str) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error::NulByte {
        text: text.to_owned(),
    })
}
