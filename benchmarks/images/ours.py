"""The client that is ours: `copy_images` on one tenant, in a process of its own, every URL being due.

Arguments: the control database, the tenant database, the origin of the storage, its bucket, the one `ip:port` that
may be fetched from. The decoding processes start inside the measured work; the libraries are loaded before it.
"""

import ipaddress
import sys
from dataclasses import asdict
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from benchmarks.images.work import worked
from cata_pipeline.addresses import AddressPolicy
from cata_pipeline.buckets import Bucket
from cata_pipeline.control.database import open_control_database
from cata_pipeline.images.copy import copy_images
from cata_pipeline.images.inspection import Inspector
from cata_pipeline.images.limits import CopyLimits
from cata_pipeline.images.tenant_images import TenantImages
from cata_pipeline.settings import Endpoint

TENANT = "bench"


def main(control_url: str, tenant_url: str, storage: str, bucket_name: str, picture_host: str) -> None:
    """Copy once and print what it took and did."""
    address, _, port = picture_host.partition(":")
    control = open_control_database(make_url(control_url))
    with worked() as told, Inspector() as inspector:
        result = copy_images(
            TENANT,
            tenant=TenantImages(sa.create_engine(make_url(tenant_url), poolclass=sa.NullPool)),
            control=control,
            bucket=Bucket(bucket_name, storage),
            policy=AddressPolicy(frozenset({Endpoint(ipaddress.ip_address(address), int(port))})),
            inspector=inspector,
            limits=CopyLimits(revalidate_after=timedelta(0)),
        )
        told["failed"] = result.failed
        told["counts"] = {name: value for name, value in asdict(result).items() if name != "failures"}
        told["reasons"] = sorted({failure.reason for failure in result.failures})


if __name__ == "__main__":
    main(*sys.argv[1:])
