"""What bringing a tenant's items in step costs, beside a floor, dlt and batched upserts."""
